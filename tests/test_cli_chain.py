"""compile, validate, run, profile: the same model through every command, as a user would call them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from command_line import call, call_json, small_files
from import_graphs import file, layer_file, recurrent, weights
from stepcell.build import build_host, load_bundle
from stepcell.run import Job, Kind, lane, run_host
from tools import require_tool

node = onnx.helper.make_node

VALIDATE_KEYS = [
    "float_vs_ort_max_abs", "integer_vs_ort_mismatches", "c_vs_integer_mismatches", "values_compared",
    "accuracy_unit", "accuracy_source", "accuracy_float", "accuracy_integer", "accuracy_c", "label_agreement",
    "max_abs_error", "cell_saturations", "clipped_inputs", "rms_errors",
]  # fmt: skip
PROFILE_KEYS = {
    "instructions_per_step": None, "macs_per_step": None, "instructions_per_mac": None,
    "cycles_per_step": ["low", "estimate", "high"], "flash_bytes": ["text", "rodata", "total"],
    "ram_bytes": ["state", "stack", "total"], "layers": None,
}  # fmt: skip


def compiled(model: Path, data: Path, *options: str) -> Path:
    """The bundle of a model, beside it."""
    folder = model.parent / "c"
    result = call("compile", model, "--calibration", data, "-o", folder, *options)
    assert result.exit_code == 0, result.stderr
    return folder


def assert_equal_everywhere(folder: Path, data: Path, backends: str) -> None:
    """`validate` exits with 0 on all backends, and says that nothing differs."""
    found = call_json("validate", folder, "--data", data, "--on", backends)
    assert found["c_vs_integer_mismatches"] == dict.fromkeys(backends.split(","), 0)
    assert found["integer_vs_ort_mismatches"] == 0
    assert found["float_vs_ort_max_abs"] <= 1e-5


def random_data(folder: Path) -> Path:
    """Normal x [6, 9, 3] of every length up to 9."""
    x = np.random.default_rng(0).standard_normal((6, 9, 3))
    np.savez(folder / "data.npz", x=x, lengths=np.array([9, 1, 5, 9, 2, 7]))
    return folder / "data.npz"


def test_a_model_goes_through_all_commands(tmp_path: Path) -> None:
    require_tool("zig", "unicorn", "elftools", "capstone", "cffi")
    model, data = small_files(tmp_path)
    assert "supported" in call("inspect", model).stdout
    folder = compiled(model, data, "--density", "0.25", "--block", "4x1", "--activations", "int16")
    found = call_json("validate", folder, "--data", data, "--on", "host,unicorn")
    assert list(found) == VALIDATE_KEYS
    assert found["c_vs_integer_mismatches"] == {"host": 0, "unicorn": 0}
    assert found["accuracy_c"] == dict.fromkeys(("host", "unicorn"), found["accuracy_integer"])
    profile = call_json("profile", folder, "--compiler", "zig")
    assert list(profile) == list(PROFILE_KEYS)
    assert all(list(profile[key]) == parts for key, parts in PROFILE_KEYS.items() if parts)
    assert profile["instructions_per_step"] == sum(layer["instructions"] for layer in profile["layers"])
    assert list(profile["layers"][0]) == ["layer", "function", "instructions", "macs", "cycles"]


def test_tables_say_what_the_json_says(tmp_path: Path) -> None:
    require_tool("zig", "unicorn", "elftools", "capstone", "cffi")
    model, data = small_files(tmp_path)
    folder = compiled(model, data)
    table = call("validate", folder, "--data", data).stdout
    accuracy = call_json("validate", folder, "--data", data)["accuracy_c"]["host"]
    (line,) = [line for line in table.splitlines() if "C on host" in line]
    assert f"{accuracy:.2%}" in line
    cost = call_json("profile", folder)
    assert f"{cost['instructions_per_step']:,}" in call("profile", folder).stdout


def test_run_answers_the_same_on_every_backend(tmp_path: Path) -> None:
    require_tool("zig", "unicorn", "elftools", "cffi", "qemu", "arm-gcc")
    model, data = small_files(tmp_path)
    folder = compiled(model, data)
    answers = {}
    for backend in ("host", "unicorn", "qemu"):
        output = tmp_path / f"{backend}.npz"
        assert call("run", folder, "--input", data, "-o", output, "--on", backend).exit_code == 0
        with np.load(output) as found:
            answers[backend] = found["y_integer"]
            assert found["y"].shape == (16, 12, 2)
            scale = json.loads((folder / "manifest.json").read_text())["outputs"][0]["scale"]
            assert np.array_equal(found["y"], found["y_integer"] * scale)
            past = np.arange(12) >= found["lengths"][:, None]
            assert not found["y_integer"][past].any()
    assert np.array_equal(answers["host"], answers["unicorn"])
    assert np.array_equal(answers["host"], answers["qemu"])


def test_run_writes_to_the_very_file_that_was_named(tmp_path: Path) -> None:
    model, data = small_files(tmp_path)
    assert call("run", compiled(model, data), "--input", data, "-o", tmp_path / "answers [1]").exit_code == 0
    assert (tmp_path / "answers [1]").is_file()


@pytest.mark.parametrize("target", ["cortex-m0plus", "mps2-an386", "host"])
def test_each_kind_of_target_is_kept_in_the_bundle(tmp_path: Path, target: str) -> None:
    require_tool("zig", "unicorn", "elftools", "cffi")
    model, data = small_files(tmp_path)
    folder = compiled(model, data, "--target", target)
    assert json.loads((folder / "manifest.json").read_text())["target"] == target
    assert f"Target: {target}." in (folder / "small.h").read_text()
    assert_equal_everywhere(folder, data, "host" if target == "host" else "host,unicorn")


def test_a_weight_that_changes_in_the_c_is_noticed_by_validate_and_by_the_self_test(tmp_path: Path) -> None:
    require_tool("zig", "cffi")
    model, data = small_files(tmp_path)
    folder = compiled(model, data)
    bundle = load_bundle(folder)
    selftest = Job((lane(bundle, np.zeros((1, 3), np.int8)),), Kind.SELFTEST)
    ((passed,),) = run_host(build_host([bundle], tmp_path / "good"), [selftest])
    assert passed.selftest == 0

    source = folder / "small_weights.c"
    first, *rest = source.read_text().split("0x", 1)
    assert rest
    digit = rest[0][0]
    source.write_text(f"{first}0x{'7' if digit != '7' else '1'}{rest[0][1:]}")
    ((failed,),) = run_host(build_host([bundle], tmp_path / "bad"), [selftest])
    assert failed.selftest
    result = call("validate", folder, "--data", data, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["c_vs_integer_mismatches"]["host"] > 0


def test_accuracy_c_is_judged_by_what_the_c_answers(tmp_path: Path) -> None:
    """The head's bias decides every label after the change, so that exactly the class it favours is hit."""
    require_tool("zig", "cffi")
    model, data = small_files(tmp_path)
    folder = compiled(model, data)
    source = folder / "small_weights.c"
    text = source.read_text()
    start = text.index("{", text.index("small_dense1_weights_start"))
    end = text.index("}", start)
    source.write_text(text[: start + 1] + " -1000000000, 1000000000, 0, 0 " + text[end:])
    found = json.loads(call("validate", folder, "--data", data, "--json").stdout)
    assert found["accuracy_c"] == {"host": 0.5}
    assert found["accuracy_integer"] != 0.5 or found["c_vs_integer_mismatches"]["host"] > 0


def test_dump_ir_writes_the_model_after_each_pass(tmp_path: Path) -> None:
    model, data = small_files(tmp_path)
    compiled(model, data, "--dump-ir", str(tmp_path / "ir"), "--density", "0.5")
    texts = {path.name: path.read_text() for path in (tmp_path / "ir").iterdir()}
    assert sorted(texts) == ["01_import.txt", "02_prune.txt", "03_quantize.txt"]
    assert all("gru" in text for text in texts.values())
    assert "density 0.5" in texts["02_prune.txt"]
    assert "int8[" in texts["03_quantize.txt"]


def test_compile_prints_its_choices_or_the_manifest(tmp_path: Path) -> None:
    model, data = small_files(tmp_path)
    options = ("compile", model, "--calibration", data, "-o", tmp_path / "c")
    text = call(*options).stdout
    manifest = call_json(*options)
    assert manifest == json.loads((tmp_path / "c" / "manifest.json").read_text())
    for what, why in manifest["choices"].items():
        assert f"  {what}: {why}\n" in text


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    model, data = small_files(tmp_path)
    folder = compiled(model, data)
    first = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    compiled(model, data)
    assert first == {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "stem", ["my model-2", "2fast", "int", "Größe", "évident*", "a.b.c", "[red]x[bold]", "main"]
)
def test_any_file_name_becomes_a_c_name(tmp_path: Path, stem: str) -> None:
    require_tool("zig", "cffi")
    _, data = small_files(tmp_path)
    model = shutil.copy(tmp_path / "small.onnx", tmp_path / f"{stem}.onnx")
    result = call("compile", model, "--calibration", data, "-o", tmp_path / "c")
    assert result.exit_code == 0, result.stderr
    assert_equal_everywhere(tmp_path / "c", data, "host")


@pytest.mark.parametrize("name", ["x", "y", "s", "SC", "gru1", "frame", "state", "A_1", "sc_gru"])
def test_a_name_that_the_c_also_uses_compiles(tmp_path: Path, name: str) -> None:
    require_tool("zig", "cffi")
    model, data = small_files(tmp_path)
    assert_equal_everywhere(compiled(model, data, "--name", name), data, "host")


def test_a_path_that_would_end_the_comment_stays_in_it(tmp_path: Path) -> None:
    require_tool("gcc", "cffi")
    (tmp_path / "a*").mkdir()
    (tmp_path / "a*" / "*b\\").mkdir()
    model, data = small_files(tmp_path / "a*" / "*b\\")
    folder = compiled(model, data)
    subprocess.run(
        [
            "gcc",
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Werror",
            "-fsyntax-only",
            "-I.",
            "-Istepcell",
            "small.c",
        ],
        cwd=folder,
        check=True,
    )


def test_weights_in_a_file_beside_the_model_are_part_of_the_bundle(tmp_path: Path) -> None:
    require_tool("zig", "cffi")
    model, data = small_files(tmp_path)
    proto = onnx.load(model)
    onnx.save(proto, model, save_as_external_data=True, location="small.bin", size_threshold=0)
    folder = compiled(model, data)
    (tmp_path / "small.bin").unlink()
    assert_equal_everywhere(folder, data, "host")


def test_bound_inputs_reach_the_whole_chain(tmp_path: Path) -> None:
    """x times `gain`, which --bind sets to 2: the source in the bundle still wants it."""
    require_tool("zig", "cffi")
    constants = {**weights("GRU", 3, 5), "zero": np.array([0])}
    nodes = [
        node("Mul", ["x", "gain"], ["scaled"]),
        recurrent("GRU", x="scaled", linear_before_reset=1),
        node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    model = file(tmp_path, nodes, constants, {"x": ["T", "B", 3], "gain": [1]})
    data = random_data(tmp_path)
    folder = compiled(model, data, "--bind", "gain=2")
    assert_equal_everywhere(folder, data, "host")
    assert call_json("validate", folder, "--data", data)["max_abs_error"] < 0.05


def test_a_named_state_reaches_the_whole_chain(tmp_path: Path) -> None:
    """h' = tanh(x A + h R): one call of the source is one step."""
    require_tool("zig", "cffi", "unicorn", "elftools")
    random = np.random.default_rng(3)
    shapes = {"A": (3, 4), "R": (4, 4)}
    constants = {n: random.uniform(-0.5, 0.5, shape).astype(np.float32) for n, shape in shapes.items()}
    nodes = [
        node("MatMul", ["x", "A"], ["a"]),
        node("MatMul", ["h", "R"], ["r"]),
        node("Add", ["a", "r"], ["s"]),
        node("Tanh", ["s"], ["hn"]),
        node("Relu", ["hn"], ["y"]),
    ]
    model = file(tmp_path, nodes, constants, {"x": ["B", 3], "h": ["B", 4]}, ["y", "hn"])
    data = random_data(tmp_path)
    assert_equal_everywhere(compiled(model, data, "--state", "h=hn"), data, "host,unicorn")


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_a_state_that_goes_in_and_out_is_the_models(tmp_path: Path, op: str) -> None:
    require_tool("zig", "cffi")
    names, ends = (["h0", "c0"], ["Y_h", "Y_c"]) if op == "LSTM" else (["h0"], ["Y_h"])
    constants = {**weights(op, 3, 5), "one": np.array([1])}
    nodes = [recurrent(op, extra=["", *names]), node("Squeeze", ["Y", "one"], ["y"])]
    inputs: dict[str, list[int | str]] = {"x": ["T", "B", 3], **{name: [1, "B", 5] for name in names}}
    model = file(tmp_path, nodes, constants, inputs, ["y", *ends])
    data = random_data(tmp_path)
    assert_equal_everywhere(compiled(model, data), data, "host")


def test_a_module_and_its_weights_become_c(tmp_path: Path) -> None:
    """`factory.py:build` + --weights; the bundle's source is then the imported Model's own export."""
    torch = pytest.importorskip("torch")
    require_tool("zig", "cffi")
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.gru, self.head = nn.GRU(3, 6, batch_first=True), nn.Linear(6, 2)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.gru(x)[0][:, -1])\n"
        "build = Net\n"
    )
    spec = f"{tmp_path / 'net.py'}:build"
    data = random_data(tmp_path)
    namespace: dict[str, Any] = {}
    exec((tmp_path / "net.py").read_text(), namespace)
    module = namespace["build"]()
    torch.save(module.state_dict(), tmp_path / "net.pt")
    options = ("--weights", tmp_path / "net.pt", "--shape", "x=1,T,3")
    result = call("compile", spec, "--calibration", data, "-o", tmp_path / "c", *options)
    assert result.exit_code == 0, result.stderr
    assert_equal_everywhere(tmp_path / "c", data, "host")
    with np.load(data) as arrays, torch.no_grad():
        expected = module(torch.tensor(arrays["x"], dtype=torch.float32)).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "c" / "onnx" / "source.onnx")
    (name,) = [value.name for value in session.get_inputs()]
    with np.load(data) as arrays:
        (found,) = session.run(None, {name: arrays["x"].astype(np.float32)})
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_lstm_without_a_head_validates(tmp_path: Path) -> None:
    require_tool("zig", "cffi")
    model = layer_file(tmp_path, "LSTM")
    data = random_data(tmp_path)
    assert_equal_everywhere(compiled(model, data), data, "host")
