"""Run every TensorFlow Lite fixture in tflite-runtime and compare with what LiteRT recorded.

    scripts/check_tflite_runtime.sh       makes the virtual environment and calls this

Float results must agree to 1e-5, integers to one unit and in every label. Files with operators newer than
tflite-runtime are counted and named, not compared.
"""

import sys
from pathlib import Path

import numpy as np
from tflite_runtime.interpreter import Interpreter


def main() -> int:
    """The exit code: 1 where a file differs, or none could be compared."""
    worst = {}
    newer = []
    for path in sorted(Path(sys.argv[1]).glob("*.tflite")):
        stored = np.load(path.with_suffix(".npz"))
        try:
            found = run(path, stored["x"])
        except (ValueError, RuntimeError) as error:
            newer.append(f"{path.name}: {str(error).strip().splitlines()[0][:80]}")
            continue
        worst[path.name] = difference(found, stored["y"])
    for name, (distance, limit) in worst.items():
        print(f"{name}: {distance:.3g} ({'ok' if distance <= limit else 'TOO FAR'})")
    for line in newer:
        print(f"not run, {line}")
    failed = [name for name, (distance, limit) in worst.items() if distance > limit]
    print(f"{len(worst) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not worst else 0


def run(path: Path, x: np.ndarray) -> np.ndarray:
    """Every sequence from the initial states."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    wanted = interpreter.get_output_details()[0]["index"]
    found = []
    for one in x:
        interpreter.reset_all_variables()
        interpreter.set_tensor(source, one[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(wanted)[0].copy())
    return np.stack(found)


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """(the largest difference, what is allowed); labels of integers that differ count as infinite."""
    distance = float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max())
    if expected.dtype.kind == "f":
        return distance, 1e-5
    same = np.array_equal(found.argmax(-1), expected.argmax(-1))
    return (distance if same else float("inf")), 1.0


if __name__ == "__main__":
    sys.exit(main())
