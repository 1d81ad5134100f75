"""`stepcell compress` and `stepcell sensitivity`: what they write and print, resuming, and mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from command_line import assert_mistake, call, call_json, small_files
from stepcell.compress import read_recipe
from stepcell.compress.recipe import Quantize
from stepcell.importers import import_model
from stepcell.ir.files import dump_qmodel
from stepcell.ir.sequences import load_sequences
from stepcell.recipes import quantize_as

RECIPE = """
[[pass]]
prune = "magnitude"
fraction = 0.5
pattern = "4x1"

[[pass]]
train = 4
learning_rate = 0.02

[[pass]]
quantize = {weights = "int4", calibrator = "mse", bias_correction = true}
"""
TASK = """
from pathlib import Path

from stepcell.compress import Task
from stepcell.ir.sequences import load_sequences


def task():
    data = load_sequences(Path(__file__).parent / "small.npz")
    train, rest = data.split(0.5, 0)
    validation, test = rest.split(0.5, 0)
    return Task("small", train, validation, test)
"""
KILLED = """
import os
import sys

import stepcell.recipes as recipes
from stepcell.cli import main

run_pass, passes = recipes.run_pass, []


def killed_in_the_last(*arguments):
    passes.append(arguments)
    if len(passes) == {which}:
        os._exit(9)
    return run_pass(*arguments)


recipes.run_pass = killed_in_the_last
main(sys.argv[1:])
"""


KILLED_IN_TRAINING = """
import os
import sys

from stepcell.cli import main
from stepcell.train import checkpoint

save, epochs = checkpoint.save, []


def killed_after_two_epochs(*arguments):
    save(*arguments)
    epochs.append(arguments)
    if len(epochs) == 2:
        os._exit(9)


checkpoint.save = killed_after_two_epochs
main(sys.argv[1:])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """small.onnx, small.npz, recipe.toml and task.py."""
    small_files(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "task.py").write_text(TASK)
    return tmp_path


def arguments(folder: Path, output: str = "out") -> list[str]:
    files = ["small.onnx", "--recipe", "recipe.toml", "--task", "task.py", "-o", output]
    return ["compress", *(str(folder / file) if "." in file or file == output else file for file in files)]


def kill(program: str, folder: Path) -> None:
    """Run a program, with the arguments of `compress`, that kills itself."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, *arguments(folder)]
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 9


def test_compress_writes_the_model_a_log_and_what_compile_needs(folder: Path) -> None:
    result = call(*arguments(folder))
    assert result.exit_code == 0, result.stderr
    out = folder / "out"
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["what"] for line in lines] == [
        "source",
        "prune magnitude 50% 4x1",
        "train 4 epochs",
        "quantize int4",
        "result",
    ]
    assert [line["split"] for line in lines] == ["validation"] * 4 + ["test"]
    assert lines[-1]["weight_bytes"] < lines[0]["weight_bytes"]
    assert set(lines[0]["integers"]) == {"accuracy", "macro_precision"}
    assert (out / "recipe.toml").read_text() == RECIPE
    for line in lines:
        assert line["what"] in result.stdout
    command = result.stdout.split("next: stepcell ")[1].split()
    assert call(*command).exit_code == 0
    manifest = json.loads((out / "c" / "manifest.json").read_text())
    assert manifest["weights_bytes"] == lines[-1]["weight_bytes"]
    assert manifest["source"]["file"] == "small.onnx"


def test_what_is_compiled_is_what_the_table_judged(folder: Path) -> None:
    result = call(*arguments(folder))
    command = result.stdout.split("next: stepcell ")[1].split()
    assert call(*command).exit_code == 0
    compiled = (folder / "out" / "c" / "onnx" / "integer.npz").read_bytes()
    model = import_model(folder / "out" / "model.npz")
    calibration = load_sequences(folder / "out" / "calibration.npz", model.main.inputs)
    (_, _, integers) = read_recipe(folder / "recipe.toml").passes
    assert isinstance(integers, Quantize)
    assert dump_qmodel(quantize_as(model, calibration, integers)) == compiled


def test_the_compressed_model_is_judged_by_its_source(folder: Path) -> None:
    lines = call_json(*arguments(folder))
    out = folder / "out"
    data = out / "calibration.npz"
    call_json("compile", out / "model.npz", "--calibration", data, "--weight-bits", "4", "-o", folder / "c")
    source = (folder / "c" / "onnx" / "source.onnx").read_bytes()
    assert source == (folder / "small.onnx").read_bytes()
    model = import_model(out / "model.npz", name="other")
    assert model.name == "other"
    assert model.masks.keys() == {"gru1_input_weights", "gru1_recurrent_weights"}
    assert sum(m.keep.sum() for m in model.masks.values()) / sum(
        m.keep.size for m in model.masks.values()
    ) == pytest.approx(lines[-1]["density"])


@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_killed_run_goes_on_to_the_same_file(folder: Path, which: int) -> None:
    whole = call(*arguments(folder, "whole"))
    assert whole.exit_code == 0, whole.stderr
    kill(KILLED.format(which=which), folder)
    assert not (folder / "out" / "model.npz").exists()
    kept = {path: path.stat().st_mtime_ns for path in (folder / "out" / "passes").glob("*.npz")}
    assert len(kept) == which
    assert call(*arguments(folder), "--resume").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (folder / "out" / "model.npz").read_bytes() == (folder / "whole" / "model.npz").read_bytes()


def test_a_run_killed_in_training_goes_on_from_its_last_epoch(folder: Path) -> None:
    assert call(*arguments(folder, "whole")).exit_code == 0
    kill(KILLED_IN_TRAINING, folder)
    passes = folder / "out" / "passes"
    (checkpoint,) = passes.glob("02-*.checkpoint")
    before = checkpoint.read_bytes()
    assert call(*arguments(folder), "--resume").exit_code == 0
    assert not list(passes.glob("*.checkpoint"))
    assert (folder / "out" / "model.npz").read_bytes() == (folder / "whole" / "model.npz").read_bytes()
    (passes / "02.json").unlink()  # as if the kill had come just before
    checkpoint.write_bytes(before[:100])
    assert_mistake(call(*arguments(folder), "--resume"), "pass 2", "holds no checkpoint")


def test_resume_runs_again_what_has_changed(folder: Path) -> None:
    assert call(*arguments(folder)).exit_code == 0
    changed = RECIPE.replace("train = 4", "train = 2")
    (folder / "recipe.toml").write_text(changed)
    assert call(*arguments(folder), "--resume").exit_code == 0
    anew = call(*arguments(folder, "anew"))
    assert anew.exit_code == 0
    assert (folder / "out" / "model.npz").read_bytes() == (folder / "anew" / "model.npz").read_bytes()


def test_seeds_are_what_training_depends_on(folder: Path) -> None:
    for output, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert call(*arguments(folder, output), "--seed", seed).exit_code == 0
    a, b, c = ((folder / output / "model.npz").read_bytes() for output in "abc")
    assert a == b
    assert a != c


def test_compress_refuses_a_folder_of_something_else(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.tex").write_text("")
    assert_mistake(call(*arguments(folder)), "out", "is not empty")
    assert [path.name for path in (folder / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("file", "content", "parts"),
    [
        ("recipe.toml", "[[pass]]\npurne = 'magnitude'", ["recipe.toml, pass 1", "did you mean 'prune'?"]),
        ("task.py", "x = 1", ["task.py", "no function 'task'"]),
        ("task.py", "def task():\n    return 3", ["task.py", "task() returned int", "Task(name"]),
    ],
)
def test_compress_names_the_file_that_is_wrong(
    folder: Path, file: str, content: str, parts: list[str]
) -> None:
    (folder / file).write_text(content)
    assert_mistake(call(*arguments(folder)), *parts)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("file", ["recipe.toml", "task.py", "small.onnx"])
def test_compress_names_the_file_that_is_missing(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert_mistake(call(*arguments(folder)), file, "there is no such")


def test_compress_refuses_an_unknown_target(folder: Path) -> None:
    assert_mistake(call(*arguments(folder), "--target", "cortex-m5"), "cortex-m5")
    assert not (folder / "out").exists()


def test_a_compressed_model_takes_no_options_of_its_source(folder: Path) -> None:
    assert call(*arguments(folder)).exit_code == 0
    assert_mistake(call("inspect", folder / "out" / "model.npz", "--shape", "x=1,T,3"), "--shape")


def test_a_data_file_is_no_compressed_model(folder: Path) -> None:
    assert_mistake(call("inspect", folder / "small.npz"), "small.npz holds no compressed model")


def test_the_template_is_a_task(folder: Path) -> None:
    template = Path(__file__).parents[1] / "examples" / "compression" / "task_template.py"
    (folder / "task.py").write_text(template.read_text())
    content = (folder / "small.npz").read_bytes()
    for name in ("train", "test"):
        (folder / f"{name}.npz").write_bytes(content)
    (folder / "recipe.toml").write_text("[[pass]]\nquantize = {weights = 'int8'}")
    lines = call_json(*arguments(folder))
    assert [line["split"] for line in lines] == ["validation", "validation", "test"]


def test_sensitivity_changes_one_matrix_at_a_time(folder: Path) -> None:
    found = call_json(
        "sensitivity", folder / "small.onnx", "--task", folder / "task.py", "--fractions", "0.5,0.9"
    )
    assert [(line["matrix"], line["change"]) for line in found] == [
        (matrix, change)
        for matrix in ("gru1_input_weights", "gru1_recurrent_weights")
        for change in ("50% pruned", "90% pruned", "int8", "int4")
    ]
    assert all(0 <= line["label_agreement"] <= 1 for line in found)
    eight = [line for line in found if line["change"] == "int8"]
    assert all(line["label_agreement"] == 1.0 for line in eight)


def test_sensitivity_reads_a_data_file_without_labels(folder: Path) -> None:
    with np.load(folder / "small.npz") as data:
        np.savez(folder / "plain.npz", x=data["x"])
    result = call("sensitivity", folder / "small.onnx", "--data", folder / "plain.npz", "--weight-bits", "4")
    assert result.exit_code == 0, result.stderr
    assert "label agreement" in result.stdout
    assert "gru1_recurrent_weights" in result.stdout


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "give one of --task"),
        (["--data", "small.npz", "--task", "task.py"], "give one of --task"),
        (["--data", "small.npz", "--fractions", "0.5,half"], "removed fractions"),
        (["--data", "small.npz", "--fractions", "1.5"], "removed fractions"),
        (["--data", "small.npz", "--weight-bits", "3"], "8, 4 or 8,4"),
        (["--data", "small.npz", "--criterion", "luck"], "'luck' is no criterion"),
        (["--data", "none.npz"], "there is no such file"),
    ],
)
def test_sensitivity_names_every_mistake(folder: Path, options: list[str], part: str) -> None:
    files = [
        str(folder / option) if "." in option and option[0] != "0" and option[0] != "1" else option
        for option in options
    ]
    assert_mistake(call("sensitivity", folder / "small.onnx", *files), part)
