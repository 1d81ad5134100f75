"""What bad input gets: exit code 2, one sentence and a hint, and nothing written."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import helper

from command_line import assert_mistake, call, small_files
from import_graphs import file, layer_file, recurrent, weights
from make_small_model import small_data
from stepcell.build import toolchains

node = helper.make_node
SQUEEZE = node("Squeeze", ["Y_h", "zero"], ["h"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """small.onnx and small.npz."""
    small_files(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """small.onnx compiled for the Cortex-M4."""
    model, data = small_files(tmp_path_factory.mktemp("bundle"))
    assert call("compile", model, "--calibration", data, "-o", model.parent / "c").exit_code == 0
    return model.parent / "c"


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine without compilers and emulators."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchains, "_zig_in_this_environment", lambda: None)
    toolchains.find_tool.cache_clear()
    yield
    toolchains.find_tool.cache_clear()


def compile_in(
    folder: Path, *options: str, model: str | Path = "small.onnx", data: str = "small.npz"
) -> Result:
    """`stepcell compile` into folder/c, which must not be there afterwards, nor anything beside it."""
    before = sorted(folder.iterdir())
    result = call("compile", folder / model, "-o", folder / "c", "--calibration", folder / data, *options)
    assert sorted(folder.iterdir()) == before
    return result


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "changed.npz", **arrays)
    return "changed.npz"


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("none.onnx", None, "there is no such file"),
        ("text.onnx", b"not a model", "not an ONNX model"),
        ("empty.onnx", b"", "not an ONNX model"),
        ("model.bin", b"", "it is none of file.onnx"),
        ("model.tflite", b"", "not a sound TensorFlow Lite model"),
        ("factory.py:build", None, "there is no such Python file"),
    ],
)
def test_compile_refuses_what_is_no_model(folder: Path, name: str, content: bytes | None, part: str) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    assert_mistake(compile_in(folder, model=name), name.split(":", maxsplit=1)[0], part)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_compile_refuses_a_truncated_file(folder: Path, share: float) -> None:
    content = (folder / "small.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(content[: int(share * len(content))])
    assert_mistake(compile_in(folder, model="cut.onnx"), "cut.onnx", "truncated")


def test_compile_names_the_node_of_an_unsupported_operator(folder: Path) -> None:
    model = layer_file(folder, "GRU", [SQUEEZE, node("Hardmax", ["h"], ["y"], name="odd")])
    assert_mistake(compile_in(folder, model=model), "graph.onnx", "'odd' (Hardmax)")


def test_compile_names_the_node_of_an_unsupported_attribute(folder: Path) -> None:
    model = layer_file(folder, "LSTM", clip=-1.0)
    assert_mistake(compile_in(folder, model=model), "'layer'", "clips at -1")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_compile_refuses_weights_that_are_not_finite(folder: Path, number: float) -> None:
    bad = weights("GRU", 3, 5)["R"].copy()
    bad[0, 1, 1] = number
    assert_mistake(compile_in(folder, model=layer_file(folder, "GRU", extra={"R": bad})), "NaN or infinite")


def test_compile_needs_calibration_data(folder: Path) -> None:
    result = call("compile", folder / "small.onnx", "-o", folder / "c")
    assert_mistake(result, "no calibration data", "--calibration data.npz")
    assert not (folder / "c").exists()


X = small_data()


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"data": X}, "no array 'x', only data"),
        ({"x": X[0, 0]}, "'x' is float32 [3], not numbers [N, T, ...]"),
        ({"x": X[..., 0]}, "'x' is [16, 12], the model's input 'x' is [N, T, 3]"),
        ({"x": X[..., :2]}, "'x' is [16, 12, 2], the model's input 'x' is [N, T, 3]"),
        ({"x": X[:0]}, "is empty"),
        ({"x": X.astype("U4")}, "not numbers"),
        ({"x": np.where(X > 2, np.nan, X)}, "NaN or infinite"),
        ({"x": X, "lengths": np.full(16, 13)}, "allowed are 1 to 12"),
        ({"x": X, "lengths": np.full(15, 3)}, "'lengths' is int64 [15], not integers [16]"),
        ({"x": X, "y": np.zeros(15, int)}, "'y' is int64 [15] for 16 sequences"),
        ({"x": X, "y": np.zeros((16, 5), int)}, "'y' has the shape [16, 5]"),
        ({"x": X, "y": np.full(16, -1)}, "negative classes"),
    ],
)
def test_compile_and_validate_refuse_data_that_does_not_fit(
    folder: Path, bundle: Path, arrays: dict[str, Any], part: str
) -> None:
    data = saved(folder, **arrays)
    assert_mistake(compile_in(folder, data=data), "changed.npz", part)
    assert_mistake(call("validate", bundle, "--data", folder / data), "changed.npz", part)
    if "y" not in arrays:
        run = call("run", bundle, "--input", folder / data, "-o", folder / "y.npz")
        assert_mistake(run, "changed.npz", part)
        assert not (folder / "y.npz").exists()


@pytest.mark.parametrize(("content", "part"), [(None, "no such file"), (b"PK\x03\x04", "no readable .npz")])
def test_compile_and_validate_refuse_a_file_that_is_no_npz(
    folder: Path, bundle: Path, content: bytes | None, part: str
) -> None:
    if content is not None:
        (folder / "bad.npz").write_bytes(content)
    assert_mistake(compile_in(folder, data="bad.npz"), "bad.npz", part)
    assert_mistake(call("validate", bundle, "--data", folder / "bad.npz"), "bad.npz", part)


def test_validate_refuses_labels_of_another_kind_than_the_output(folder: Path, bundle: Path) -> None:
    data = saved(folder, x=X, y=np.zeros(X.shape[:2], int))
    result = call("validate", bundle, "--data", folder / data)
    assert_mistake(result, "the labels have the shape (16, 12), the decisions (16,)")


def test_compile_names_the_row_whose_accumulator_could_overflow(folder: Path) -> None:
    wide = weights("GRU", 600, 5)
    wide["W"] = np.where(wide["W"] < 0, -0.5, 0.5).astype(np.float32)
    constants = {**wide, "zero": np.array([0])}
    nodes = [recurrent("GRU"), node("Squeeze", ["Y_h", "zero"], ["y"])]
    model = file(folder, nodes, constants, {"x": ["T", "B", 600]})
    data = saved(folder, x=np.random.default_rng(0).standard_normal((4, 5, 600)))
    result = compile_in(folder, "--activations", "int16", model=model, data=data)
    assert_mistake(result, "the accumulator of row", "use int8 activations")


@pytest.mark.parametrize(
    ("target", "nearest"), [("cortex-m5", "cortex-m"), ("hots", "host"), ("mps2-an387", "mps2-an38")]
)
def test_compile_suggests_the_nearest_target(folder: Path, target: str, nearest: str) -> None:
    assert_mistake(compile_in(folder, "--target", target), target, "Did you mean", nearest)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--density", "0"], "0.0 is not in the range 0<x<=1"),
        (["--density", "1.5"], "1.5 is not in the range 0<x<=1"),
        (["--density", "nan"], "--density"),
        (["--density", "half"], "'half' is not a valid float"),
        (["--block", "4"], "--block 4: a block is rows x columns"),
        (["--block", "0x2"], "--block 0x2"),
        (["--block", "4x2x1"], "--block 4x2x1"),
        (["--percentile", "0"], "--percentile"),
        (["--percentile", "nan"], "--percentile"),
        (["--activations", "int4"], "'int4' is not one of"),
        (["--max-steps", "0"], "--max-steps"),
        (["--bind", "sr"], "'sr' is not name=value"),
        (["--bind", "sr=fast"], "'fast' is not a number"),
        (["--bind", "sr=16000"], "no input 'sr'"),
        (["--shape", "x=1,T"], "--shape gives 2"),
        (["--shape", "z=1,T,3"], "no input 'z'"),
        (["--state", "h=hn"], "h=hn"),
        (["--max-steps", "9"], "--max-steps 9"),
        (["--name", "2x"], "2x"),
        (["--name", "stdint"], "stdint.h that hides another header"),
        (["--name", "stepcell"], "stepcell.h that hides another header"),
        (["--name", "float"], "float"),
        (["--name", "a-b"], "a-b"),
        (["--unknown", "1"], "--unknown"),
    ],
)
def test_compile_refuses_an_option_that_means_nothing(folder: Path, options: list[str], part: str) -> None:
    assert_mistake(compile_in(folder, *options), part)


@pytest.mark.parametrize(
    "arguments", [(), ("compile",), ("nonsense",), ("validate", "--data"), ("targets", "x")]
)
def test_a_command_line_that_is_none_names_the_help(arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    if arguments:
        assert_mistake(result, "--help` lists what is allowed.")


def test_compile_replaces_no_folder_that_is_not_a_bundle(folder: Path) -> None:
    (folder / "c").mkdir()
    (folder / "c" / "manifest.json").write_text('{"name": "a web page"}')
    assert_mistake(compile_in(folder), "not empty and holds no stepcell bundle")
    assert (folder / "c" / "manifest.json").read_text() == '{"name": "a web page"}'


@pytest.mark.parametrize("output", ["small.npz", "small.npz/c"])
def test_compile_refuses_an_output_that_cannot_be_a_folder(folder: Path, output: str) -> None:
    arguments = (
        "compile",
        folder / "small.onnx",
        "--calibration",
        folder / "small.npz",
        "-o",
        folder / output,
    )
    assert_mistake(call(*arguments), output)
    assert_mistake(call(*arguments[:-1], folder / "c", "--dump-ir", folder / output), output)


@pytest.mark.parametrize("command", [("validate", "--data"), ("run", "-o", "y.npz", "--input")])
def test_a_folder_that_is_no_bundle_is_named(folder: Path, command: tuple[str, ...]) -> None:
    (folder / "other").mkdir()
    for name in ("other", "nowhere"):
        result = call(command[0], folder / name, *command[1:], folder / "small.npz")
        assert_mistake(result, f"{folder / name} has no manifest.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "x y"}'])
def test_a_damaged_manifest_is_named(folder: Path, content: str) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "manifest.json").write_text(content)
    for command in (("validate", "--data", folder / "small.npz"), ("profile",)):
        assert_mistake(call(command[0], folder / "other", *command[1:]), "manifest.json", "ompile")


@pytest.mark.parametrize("name", ["integer.npz", "float.npz", "integer.onnx", "float.onnx", "source.onnx"])
def test_validate_names_a_bundle_file_that_is_missing_or_damaged(folder: Path, name: str) -> None:
    assert (
        call(
            "compile", folder / "small.onnx", "--calibration", folder / "small.npz", "-o", folder / "c"
        ).exit_code
        == 0
    )
    (folder / "c" / "onnx" / name).write_bytes(b"damaged")
    assert_mistake(call("validate", folder / "c", "--data", folder / "small.npz"), name)
    (folder / "c" / "onnx" / name).unlink()
    assert_mistake(call("validate", folder / "c", "--data", folder / "small.npz"), name)


@pytest.mark.parametrize("backends", ["simulator", "host,simulator", ""])
def test_validate_names_the_backends_that_there_are(folder: Path, bundle: Path, backends: str) -> None:
    result = call("validate", bundle, "--data", folder / "small.npz", "--on", backends)
    assert_mistake(result, "choose from host, unicorn, qemu")


def test_run_writes_only_where_a_file_can_lie(folder: Path, bundle: Path) -> None:
    for output in (folder, folder / "nowhere" / "y.npz"):
        assert_mistake(call("run", bundle, "--input", folder / "small.npz", "-o", output), str(output))


def test_profile_and_emulators_refuse_a_bundle_for_the_host(folder: Path) -> None:
    model, data = folder / "small.onnx", folder / "small.npz"
    assert (
        call("compile", model, "--calibration", data, "-o", folder / "c", "--target", "host").exit_code == 0
    )
    assert_mistake(call("profile", folder / "c"), "compiled for host")
    assert_mistake(call("validate", folder / "c", "--data", data, "--on", "unicorn"), "compiled for host")


@pytest.mark.usefixtures("no_tools")
def test_a_missing_compiler_or_emulator_is_named_with_what_installs_it(folder: Path, bundle: Path) -> None:
    data = ("--data", folder / "small.npz")
    for result, program, install in (
        (call("validate", bundle, *data), "zig", "stepcell[device]"),
        (call("validate", bundle, *data, "--on", "unicorn"), "arm-none-eabi-gcc", "gcc-arm-none-eabi"),
        (call("profile", bundle, "--compiler", "zig"), "zig", "stepcell[device]"),
        (call("profile", bundle, "--compiler", "arm-gcc"), "arm-none-eabi-gcc", "gcc-arm-none-eabi"),
    ):
        assert_mistake(result, f"{program} is not installed", install)


def test_a_bug_shows_its_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("stepcell.pipeline.export_integer", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        compile_in(folder)


def test_a_model_that_is_refused_leaves_an_older_bundle_as_it_was(folder: Path) -> None:
    model, data = folder / "small.onnx", folder / "small.npz"
    arguments = ("compile", model, "--calibration", data, "-o", folder / "c")
    assert call(*arguments).exit_code == 0
    before = {path: path.read_bytes() for path in (folder / "c").rglob("*") if path.is_file()}
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "none", [], [])), model)
    assert call(*arguments).exit_code == 2
    assert before == {path: path.read_bytes() for path in (folder / "c").rglob("*") if path.is_file()}
    assert not [path for path in folder.iterdir() if re.match(r"\.c-", path.name)]


def test_c_that_somebody_changed_so_that_it_does_not_compile_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "c"
    shutil.copytree(bundle, copy)
    (copy / "small.c").write_text((copy / "small.c").read_text().replace("sc_gru(", "sc_gnu("))
    result = call("validate", copy, "--data", bundle.parent / "small.npz")
    assert_mistake(result, "small.c changed since stepcell wrote it", "sc_gnu", "compile the model again")


def test_validate_refuses_labels_that_no_output_can_name(bundle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=small_data(), y=np.full(len(small_data()), 2))
    result = call("validate", bundle, "--data", tmp_path / "data.npz")
    assert_mistake(result, "the class 2", "2 classes apart, 0 to 1")
