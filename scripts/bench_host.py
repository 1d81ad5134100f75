"""How much faster a compiled LSTM steps on this computer than ONNX Runtime, one thread, one float model.

usage: python scripts/bench_host.py [--units 128] [--features 10] [--rounds 41] [--compiler gcc]

A random LSTM is written as ONNX, quantized, compiled for `host` and built into a shared library. Rounds of
steps of each kind take turns in one process, and medians of rounds are compared. What is timed:
  C           NAME_step in a loop in C: no call from Python is in it
  C by cffi   NAME_step called from Python, once a step
  run         ONNX Runtime's session.run called from Python, once a step, state handed back as arrays
  binding     session.run_with_iobinding called from Python, once a step, state kept in two bound buffers
ONNX Runtime runs one step (T = 1, batch 1) with intra_op = inter_op = 1 thread, sequentially, with all
optimizations. Prints a table and writes build/bench/host.json.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stepcell.build import Bundle, load_bundle
from stepcell.build.flags import STRICT, command, host_flags
from stepcell.build.image import bundle_units
from stepcell.build.objects import Unit, compile_units, run_compiler
from stepcell.build.toolchains import Tool, choose_compiler, device_module
from stepcell.pipeline import Options, compile_file

NAME = "lstm"
FRAMES = 64
C_STEPS, PYTHON_STEPS = 4000, 400
Step = Callable[[int], None]
_LOOP = """\
#include "{name}.h"
void bench(struct {name}_state *s, const {name}_x_t *x, {name}_y_t *y, unsigned frames, unsigned steps);
void bench(struct {name}_state *s, const {name}_x_t *x, {name}_y_t *y, unsigned frames, unsigned steps)
{{
    for (unsigned t = 0; t < steps; ++t)
        {name}_step(s, x + t % frames * {upper}_X, y);
}}
"""


def main(arguments: list[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--compiler", choices=("gcc", "clang", "zig"), default="gcc")
    parser.add_argument("--out", type=Path, default=Path("build/bench/host.json"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options.units, options.features, options.rounds, options.compiler, Path(folder))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"LSTM({options.units}), {options.features} inputs; {report['rounds']} rounds; {report['kernels']}")
    for name, us in report["median_us"].items():
        print(f"{name:<10} {us:8.2f} us a step   {report['ratio_to_c'][name]:6.2f} x C")
    print(f"largest difference of h to the float LSTM: {report['largest_error']:.4f}")
    return 0


def measure(units: int, features: int, rounds: int, compiler: str, folder: Path) -> dict[str, Any]:
    """Medians in microseconds a step, and their ratios to C."""
    rng = np.random.default_rng(0)
    weights = lstm_weights(rng, units, features)
    x = rng.standard_normal((FRAMES, features)).astype(np.float32)
    onnx.save(sequence_model(weights, units, features), folder / "lstm.onnx")
    np.savez(folder / "data.npz", x=rng.standard_normal((8, 64, features)).astype(np.float32))
    spec = str(folder / "lstm.onnx")
    bundle = load_bundle(
        compile_file(spec, folder / "data.npz", folder / NAME, Options(target="host", name=NAME))
    )
    tool = choose_compiler(compiler, (compiler,))
    compiled = Compiled(bundle, x, build(bundle, tool, folder / "built"))
    session = open_session(step_model(weights, units, features))
    kinds: dict[str, tuple[Step, int]] = {
        "C": (compiled.loop, C_STEPS),
        "C by cffi": (compiled.calls, C_STEPS),
        "run": (runs(session, x, units), PYTHON_STEPS),
        "binding": (bound(session, x, units), PYTHON_STEPS),
    }
    timed = interleaved(kinds, rounds)
    median = {name: statistics.median(times) for name, times in timed.items()}
    return {
        "units": units,
        "features": features,
        "rounds": rounds,
        "median_us": {name: round(us, 3) for name, us in median.items()},
        "quartiles_us": {name: [round(q, 3) for q in statistics.quantiles(t)] for name, t in timed.items()},
        "ratio_to_c": {name: round(us / median["C"], 3) for name, us in median.items()},
        "largest_error": largest_error(compiled, session, x, units),
        "kernels": ", ".join(dict.fromkeys(path.stem for path in kernel_sources(bundle))),
        "compiler": f"{tool.name} {tool.version}",
        "onnxruntime": ort.__version__,
        "processor": processor(),
    }


def interleaved(kinds: dict[str, tuple[Step, int]], rounds: int) -> dict[str, list[float]]:
    """Microseconds a step: a round of each kind in turn, after one that is not counted."""
    timed: dict[str, list[float]] = {name: [] for name in kinds}
    for counted in [False] + [True] * rounds:
        for name, (run, steps) in kinds.items():
            began = time.perf_counter()
            run(steps)
            took = (time.perf_counter() - began) / steps * 1e6
            if counted:
                timed[name].append(took)
    return timed


def build(bundle: Bundle, tool: Tool, folder: Path) -> Path:
    """The bundle and the loop as a shared library, with the flags that host builds have."""
    folder.mkdir()
    (folder / "bench.c").write_text(_LOOP.format(name=bundle.name, upper=bundle.name.upper()))
    includes = tuple(str(bundle.folder / directory) for directory in bundle.include_dirs)
    units = [*bundle_units([bundle]), Unit(folder, "bench.c", includes, "bench.o")]
    objects = compile_units(tool, command(tool), (*STRICT, *host_flags(tool, sanitize=False)), units, folder)
    run_compiler([*command(tool), "-shared", *map(str, objects), "-o", "bench.so"], folder)
    return folder / "bench.so"


class Compiled:
    """The compiled network in this process."""

    def __init__(self, bundle: Bundle, x: NDArray[np.float32], library: Path) -> None:
        self._ffi: Any = device_module("cffi").FFI()
        name, (source,), (target,) = bundle.name, bundle.inputs, bundle.outputs
        self._ffi.cdef(
            f"void {name}_init(void *s); void {name}_step(void *s, const void *x, void *y);"
            f"int {name}_selftest(void);"
            "void bench(void *s, const void *x, void *y, unsigned frames, unsigned steps);"
        )
        self._library: Any = self._ffi.dlopen(str(library))
        assert getattr(self._library, f"{name}_selftest")() == 0
        scale = scale_of(bundle, "X")
        limit = np.iinfo(source.dtype).max
        frames = np.clip(np.floor(x / np.float32(scale) + np.float32(0.5)), -limit, limit)
        self.frames = np.ascontiguousarray(frames.astype(source.dtype))
        self.y = np.zeros(target.count, target.dtype)
        self.y_scale = scale_of(bundle, "Y")
        self._state = self._ffi.new("int32_t[]", -(-bundle.state_bytes // 4))
        self._init, self._step = (getattr(self._library, f"{name}_{what}") for what in ("init", "step"))
        self.restart()

    def restart(self) -> None:
        """Back to the state before the first frame."""
        self._init(self._state)

    def loop(self, steps: int) -> None:
        """Steps in C."""
        self._library.bench(self._state, self._at(self.frames), self._at(self.y), FRAMES, steps)

    def calls(self, steps: int) -> None:
        """Steps called from Python."""
        step, state, y = self._step, self._state, self._at(self.y)
        frames = [self._at(frame) for frame in self.frames]
        for t in range(steps):
            step(state, frames[t % FRAMES], y)

    def _at(self, array: NDArray[Any]) -> Any:
        return self._ffi.cast("void *", array.ctypes.data)


def scale_of(bundle: Bundle, port: str) -> float:
    """NAME_X_SCALE or NAME_Y_SCALE of the generated header."""
    wanted = f"#define {bundle.name.upper()}_{port}_SCALE "
    (line,) = (
        line for line in (bundle.folder / f"{bundle.name}.h").read_text().splitlines() if wanted in line
    )
    return float(line.removeprefix(wanted).split()[0].rstrip("f"))


def kernel_sources(bundle: Bundle) -> list[Path]:
    """The matrix kernels that the bundle carries."""
    return sorted(path for path in map(Path, bundle.sources) if path.stem.startswith("sc_matvec_"))


def lstm_weights(rng: np.random.Generator, units: int, features: int) -> dict[str, NDArray[np.float32]]:
    """Weights as PyTorch draws them."""
    bound = units**-0.5
    shapes = {"W": (1, 4 * units, features), "R": (1, 4 * units, units), "B": (1, 8 * units)}
    return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def sequence_model(weights: dict[str, NDArray[np.float32]], units: int, features: int) -> onnx.ModelProto:
    """x [time, 1, features] -> h [time, 1, units]."""
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["y"], hidden_size=units),
        helper.make_node("Squeeze", ["y", "one"], ["h"]),
    ]
    one = numpy_helper.from_array(np.ones(1, np.int64), "one")
    return model_of(nodes, weights, {"x": ["time", 1, features]}, {"h": ["time", 1, units]}, [one])


def step_model(weights: dict[str, NDArray[np.float32]], units: int, features: int) -> onnx.ModelProto:
    """One step: x, h, c -> the next h and c."""
    states = {"h": [1, 1, units], "c": [1, 1, units]}
    node = helper.make_node(
        "LSTM", ["x", "W", "R", "B", "", "h", "c"], ["", "h_next", "c_next"], hidden_size=units
    )
    outputs = {f"{name}_next": shape for name, shape in states.items()}
    return model_of([node], weights, {"x": [1, 1, features], **states}, outputs, [])


def model_of(
    nodes: list[onnx.NodeProto],
    weights: dict[str, NDArray[np.float32]],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    more: list[onnx.TensorProto],
) -> onnx.ModelProto:
    """A checked ONNX model."""
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [*(numpy_helper.from_array(array, name) for name, array in weights.items()), *more],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """One thread, sequential."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def runs(session: ort.InferenceSession, x: NDArray[np.float32], units: int) -> Step:
    """Steps by session.run."""
    frames = list(x.reshape(FRAMES, 1, 1, -1))
    state = [np.zeros((1, 1, units), np.float32)] * 2

    def run(steps: int) -> None:
        h, c = state
        for t in range(steps):
            h, c = session.run(None, {"x": frames[t % FRAMES], "h": h, "c": c})
        state[:] = h, c

    return run


def bound(session: ort.InferenceSession, x: NDArray[np.float32], units: int) -> Step:
    """Steps by run_with_iobinding: two pairs of state buffers take turns, x is copied into a bound buffer."""
    frames = x.reshape(FRAMES, 1, 1, -1)
    frame = frames[0].copy()
    buffers = [
        {name: ort.OrtValue.ortvalue_from_numpy(np.zeros((1, 1, units), np.float32)) for name in "hc"}
        for _ in range(2)
    ]
    value = ort.OrtValue.ortvalue_from_numpy(frame)
    bindings = []
    for old, new in (buffers, buffers[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", value)
        for name in "hc":
            binding.bind_ortvalue_input(name, old[name])
            binding.bind_ortvalue_output(f"{name}_next", new[name])
        bindings.append(binding)

    def run(steps: int) -> None:
        for t in range(steps):
            value.update_inplace(frames[t % FRAMES])
            session.run_with_iobinding(bindings[t % 2])

    return run


def largest_error(
    compiled: Compiled, session: ort.InferenceSession, x: NDArray[np.float32], units: int
) -> float:
    """Of h over the frames, compiled against float: that both compute the same network."""
    compiled.restart()
    h = c = np.zeros((1, 1, units), np.float32)
    worst = 0.0
    frames = compiled.frames
    for t in range(FRAMES):
        h, c = session.run(None, {"x": x[t].reshape(1, 1, -1), "h": h, "c": c})
        compiled.frames = frames[t : t + 1]
        compiled.loop(1)
        worst = max(worst, float(np.abs(compiled.y * compiled.y_scale - h.reshape(-1)).max()))
    compiled.frames = frames
    return worst


def processor() -> str:
    """The processor's name, as Linux tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
