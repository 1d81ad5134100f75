"""Models beyond one step function through the whole chain: compile, validate, profile, run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import assert_mistake, call, call_json
from random_structures import random_data, random_structure
from stepcell.build import build_firmware, load_bundle
from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.ir import Model
from stepcell.ir.model import Source
from stepcell.ir.sequences import Sequences
from stepcell.pipeline import Options, Original, compile_model
from stepcell.run import profile_step
from stepcell.target import load_board
from stepcell.validate import validate
from tools import require_tool

STEPS = 7
KINDS: dict[str, dict[str, Any]] = {
    "two_inputs": {"structure": "step", "inputs": "two", "functions": "one"},
    "bidirectional": {"structure": "bidirectional", "inputs": "one", "functions": "one"},
    "finished": {"structure": "bidirectional_finish", "inputs": "two", "functions": "one"},
    "frames": {"structure": "step", "inputs": "one", "functions": "one", "frames": 3},
    "shared_state": {"structure": "step", "inputs": "one", "functions": "shared_state"},
}


def drawn(kind: str, seed: int = 0) -> tuple[Model, Sequences]:
    rng = np.random.default_rng(seed)
    model = random_structure(rng, name="drawn", **KINDS[kind])
    return model, random_data(rng, model, steps=STEPS)


def original(model: Model) -> Original:
    """As for a module of PyTorch: its own float exports."""
    exports = {f.name: export_float(model, f.name).SerializeToString() for f in model.functions}
    return Original(exports, Source("drawn.py:build", "0" * 64, "torch"))


def is_whole(model: Model) -> bool:
    return any(not function.is_step for function in model.functions)


def compiled(folder: Path, kind: str) -> tuple[Path, Sequences]:
    model, data = drawn(kind)
    options = Options(max_steps=STEPS if is_whole(model) else None)
    return compile_model(model, original(model), data, folder / "c", options), data


def saved(folder: Path, model: Model, data: Sequences) -> Path:
    """The data as a file."""
    arrays: dict[str, Any] = {"lengths": data.lengths}
    for function in model.functions:
        fed = data if function is model.functions[0] else data.then[function.name]
        dot = "" if fed is data else f"{function.name}."
        streams = fed.feed([value.name for value in function.inputs])
        arrays |= {f"{dot}{name}": array for name, array in streams.items()} | {f"{dot}lengths": fed.lengths}
        if len(streams) == 1:
            arrays[f"{dot}x"] = arrays.pop(f"{dot}{function.inputs[0].name}")
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


@pytest.mark.parametrize("kind", KINDS)
def test_every_structure_is_equal_from_the_integer_reference_to_the_emulated_chip(
    tmp_path: Path, kind: str
) -> None:
    require_tool("zig", "cffi", "unicorn", "elftools")
    folder, data = compiled(tmp_path, kind)
    result = validate(folder, data, ("host", "unicorn"))
    assert result.mismatches == 0
    assert result.float_vs_ort_max_abs < 1e-5
    assert result.values_compared > data.lengths.sum()
    assert set(result.clipped_inputs.values()) == {0}
    assert result.max_abs_error == result.max_abs_errors[result.judged_output]


@pytest.mark.parametrize("kind", ["finished", "shared_state"])
def test_the_commands_take_models_of_several_parts(tmp_path: Path, kind: str) -> None:
    require_tool("zig", "cffi", "unicorn", "elftools", "capstone")
    folder, data = compiled(tmp_path, kind)
    model = drawn(kind)[0]
    file = saved(tmp_path, model, data)
    found = call_json("validate", folder, "--data", file)
    assert found["c_vs_integer_mismatches"] == {"host": 0}
    cost = call_json("profile", folder)
    functions = cost["functions"] if kind == "shared_state" else [cost]
    assert len(functions) == len(model.functions)
    for function in functions:
        layers = [layer["instructions"] for layer in function["layers"]]
        assert function["instructions_per_step"] == sum(layers) > 0
    assert ("layers_at_the_end" in functions[0]) == (kind == "finished")
    assert call("profile", folder).exit_code == call("validate", folder, "--data", file).exit_code == 0
    answers = tmp_path / "answers.npz"
    assert call("run", folder, "--input", file, "-o", answers).exit_code == 0
    outputs = sum(len(function.outputs) for function in model.functions)
    with np.load(answers) as arrays:
        assert sum(name.endswith("_integer") for name in arrays.files) == outputs
        assert sum(name.endswith("lengths") for name in arrays.files) == len(model.functions)


def test_both_emulators_count_a_run_alike_whatever_the_number_of_steps(tmp_path: Path) -> None:
    require_tool("arm-gcc", "unicorn", "qemu", "elftools", "capstone")
    bundle = load_bundle(compiled(tmp_path, "finished")[0])
    board = load_board("mps2-an386")
    elf = build_firmware([bundle], board, tmp_path / "firmware", "arm-gcc")
    profiles = [profile_step(elf, bundle, board, "unicorn", steps) for steps in (1, 2, 3)]
    assert profiles == [profiles[0]] * 3
    assert profile_step(elf, bundle, board, "qemu") == profiles[0]
    assert [layer.layer for layer in profiles[0].layers[:-1]] == [call.layer for call in bundle.main.calls]
    assert [layer.layer for layer in profiles[0].ends] == [call.layer for call in bundle.main.ends]
    assert all(layer.instructions > 0 for layer in (*profiles[0].layers, *profiles[0].ends))


def test_what_stages_leave_for_later_ones_is_part_of_the_state(tmp_path: Path) -> None:
    model, data = drawn("bidirectional")
    sizes = []
    for steps in (STEPS, STEPS + 1, STEPS + 101):
        folder = compile_model(model, original(model), data, tmp_path / str(steps), Options(max_steps=steps))
        sizes.append(load_bundle(folder).state_bytes)
    assert (sizes[1] - sizes[0]) * 100 == sizes[2] - sizes[1] > 0


def test_compile_says_how_many_steps_a_model_of_whole_sequences_needs(tmp_path: Path) -> None:
    model, data = drawn("bidirectional")
    with pytest.raises(StepcellError, match="reads whole sequences") as refusal:
        compile_model(model, original(model), data, tmp_path / "c", Options())
    steps = data.lengths.max() // model.main.frames_per_step
    assert f"--max-steps {steps}: the longest calibration sequence has {steps} steps" in refusal.value.hint


def test_a_longer_sequence_than_the_bundle_was_compiled_for_is_refused(tmp_path: Path) -> None:
    require_tool("zig", "cffi")
    model, data = drawn("bidirectional")
    folder = compile_model(model, original(model), data, tmp_path / "c", Options(max_steps=STEPS - 1))
    result = call("validate", folder, "--data", saved(tmp_path, model, data))
    assert_mistake(result, f"{STEPS} steps", f"at most {STEPS - 1}", f"--max-steps {STEPS}")


def test_labels_judge_the_function_that_they_belong_to(tmp_path: Path) -> None:
    require_tool("zig", "cffi")
    folder, data = compiled(tmp_path, "shared_state")
    (decoder,) = data.then.values()
    first, second = json.loads((folder / "manifest.json").read_text())["functions"]
    result = validate(folder, data)
    assert result.judged_output.startswith("decoder.")
    assert result.accuracy_source is None
    finished = "finished" in first["outputs"][0]
    steps = data.x.shape[1] // data.frames_per_step
    y = np.zeros(len(data) if finished else (len(data), steps), np.int64)
    judged = validate(folder, replace(data, y=y))
    assert judged.judged_output == f"encoder.{first['outputs'][0]['name']}"
    assert judged.accuracy_source is not None
    assert len(decoder) == len(data)
    assert second["name"] == "decoder"
