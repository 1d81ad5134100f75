"""From a Model to a bundle: what is checked on the way, and what the bundle holds."""

import dataclasses
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from command_line import assert_mistake, call, small_files
from random_models import random_model, random_sequences
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.ir.files import dump_model, load_model
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.lower.fit import check_fit
from stepcell.lower.plan import Plan
from stepcell.paths import targets_dir
from stepcell.pipeline import Options, compile_model, original_of
from stepcell.quantize import quantize
from stepcell.reference.float_model import run_float
from stepcell.target import Board, load_board, load_core
from stepcell.target import load as target_load


def small_plan() -> tuple[Plan, Board]:
    """A GRU with a dense head, lowered for the Cortex-M4, and its board."""
    rng = np.random.default_rng(0)
    model = random_model(rng, layers=("gru_after",), max_units=40)
    qmodel = quantize(model, random_sequences(rng, model))
    return lower(qmodel, load_core("cortex-m4")), load_board("mps2-an386")


def test_check_fit_accepts_exactly_the_memory_that_is_there() -> None:
    plan, board = small_plan()
    tables = sum(table.bytes for table in plan.tables)
    check_fit(plan, dataclasses.replace(board, flash_bytes=tables))
    with pytest.raises(StepcellError, match=f"needs at least {tables:,} bytes of flash, 1 more than the"):
        check_fit(plan, dataclasses.replace(board, flash_bytes=tables - 1))


def test_check_fit_names_the_three_largest_tensors_in_order() -> None:
    plan, board = small_plan()
    sizes = sorted((-table.bytes, table.name) for table in plan.tables)[:3]
    largest = ", ".join(f"{name} ({-size:,} bytes)" for size, name in sizes)
    with pytest.raises(StepcellError) as refusal:
        check_fit(plan, dataclasses.replace(board, flash_bytes=100))
    assert refusal.value.message.endswith(f"the largest tensors are {largest}.")


def test_check_fit_counts_the_state_and_the_largest_function_against_ram() -> None:
    plan, board = small_plan()
    scratch = max(sum(buffer.bytes for buffer in body.buffers) for body in plan.bodies)
    needed = sum(field.bytes for field in plan.state) + scratch
    check_fit(plan, dataclasses.replace(board, ram_bytes=needed))
    with pytest.raises(StepcellError, match=f"at least {needed:,} bytes of RAM, 1 more than the"):
        check_fit(plan, dataclasses.replace(board, ram_bytes=needed - 1))


def test_compile_refuses_a_model_that_outgrows_its_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = tmp_path / "targets" / "boards"
    boards.mkdir(parents=True)
    (tmp_path / "targets" / "cores").symlink_to(targets_dir() / "cores")
    text = (targets_dir() / "boards" / "mps2-an386.toml").read_text()
    flash = hex(tomllib.loads(text)["flash_bytes"])
    assert f"flash_bytes = {flash}" in text
    (boards / "tiny.toml").write_text(text.replace(f"flash_bytes = {flash}", "flash_bytes = 200"))
    monkeypatch.setattr(target_load, "targets_dir", lambda: tmp_path / "targets")
    model, data = small_files(tmp_path)
    result = call("compile", model, "--calibration", data, "-o", tmp_path / "c", "--target", "tiny")
    assert_mistake(result, "small needs at least", "more than the 200 of tiny", "the largest tensors are")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("seed", range(20))
def test_a_model_is_the_same_after_its_file(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng, max_units=12)
    data = random_sequences(rng, model)
    content = dump_model(model)
    again = load_model(content, "float.npz")
    assert dump_model(again) == content
    for name, output in run_float(model, data.x, data.lengths).outputs(model.main).items():
        assert np.array_equal(output, run_float(again, data.x, data.lengths).outputs(again.main)[name])


def test_a_file_that_holds_no_model_is_named(tmp_path: Path) -> None:
    for content in (b"", b"PK", dump_model(import_model(small_files(tmp_path)[0]))[:-200]):
        with pytest.raises(StepcellError, match=r"float\.npz holds no float model"):
            load_model(content, "float.npz")


def test_compile_model_replaces_an_older_bundle_and_keeps_what_is_not_of_it(tmp_path: Path) -> None:
    model = import_model(small_files(tmp_path)[0])
    original = original_of(model, str(tmp_path / "small.onnx"))
    data = Sequences(np.random.default_rng(0).standard_normal((4, 9, 3)), np.full(4, 9))
    folder = compile_model(model, original, data, tmp_path / "c", Options())
    (folder / "mine.c").write_text("mine")
    compile_model(model, original, data, tmp_path / "c", Options(activations="int16"))
    assert (folder / "mine.c").read_text() == "mine"
    assert json.loads((folder / "manifest.json").read_text())["inputs"][0]["dtype"] == "int16"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_compile_model_makes_folders_and_takes_an_empty_one(tmp_path: Path) -> None:
    model = import_model(small_files(tmp_path)[0])
    original = original_of(model, str(tmp_path / "small.onnx"))
    data = Sequences(np.random.default_rng(0).standard_normal((4, 9, 3)), np.full(4, 9))
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new" / "folder"):
        assert compile_model(model, original, data, folder, Options()) == folder
        assert (folder / "small.c").is_file()
