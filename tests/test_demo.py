"""The demo: what a GRU-32 and an LSTM-32 reach on JapaneseVowels, in float and on the emulated Cortex-M4."""

import json
import tempfile
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

import demo
from demo import networks, sequences
from demo_seeds import SeedResult, median_points, run_seed, seeds_table, to_json
from japanese_vowels.data import load
from sequences.model import CellName
from stepcell.build import build_firmware, build_host, load_bundle
from stepcell.pipeline import Options, compile_model
from stepcell.reference.integer_data import quantize_sequences
from stepcell.reference.integer_model import run_functions
from stepcell.run import Job, run_host, run_qemu, run_unicorn
from stepcell.target import load_core, resolve_target
from stepcell.validate import open_bundle
from stepcell.validate.backends import lanes, mismatches
from tools import require_tool

NO_BAR = Progress(disable=True)


def test_the_demo_keeps_its_accuracy_on_the_chip_for_five_seeds(tmp_path: Path) -> None:
    require_tool("unicorn", "elftools")
    results = [run_seed("gru", seed, tmp_path / f"{seed}", NO_BAR) for seed in range(5)]
    Console(width=110).print(seeds_table("gru", results))
    assert results[0].accuracy_source >= 0.97
    assert results[0].points >= -1.0
    assert median_points(results) >= -1.0
    assert [result.mismatches for result in results] == [0] * 5


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_every_frame_is_equal_on_every_backend(cell: CellName, tmp_path: Path) -> None:
    """Dense and sparse, int8 and int16: two host compilers, and both emulators on the same ELF."""
    require_tool("zig", "gcc", "arm-gcc", "qemu", "unicorn", "elftools", "cffi")
    trained = networks(cell, 0, tmp_path, lambda: None, lambda: None)
    for name, model in (("dense", trained.dense), ("sparse", trained.sparse)):
        for activations in ("int8", "int16"):
            folder = tmp_path / f"{name}_{activations}"
            options = Options(activations="int8" if activations == "int8" else "int16")
            compile_model(model, trained.original, sequences(load()[0]), folder, options)
            assert mismatches_by_backend(folder) == dict.fromkeys(("gcc", "zig", "unicorn", "qemu"), 0)


def mismatches_by_backend(folder: Path) -> dict[str, int]:
    """States and outputs that differ from the reference, over all 370 test sequences."""
    files, test = open_bundle(folder), sequences(load()[1])
    feeds = quantize_sequences(files.qmodel, test)
    runs = run_functions(files.qmodel, feeds)
    jobs = [Job((one,)) for one in lanes(files.bundle, feeds)]
    core, board = resolve_target("cortex-m4")
    assert len(jobs) == 370
    assert board is not None
    with tempfile.TemporaryDirectory() as temporary:
        elf = build_firmware([files.bundle], board, Path(temporary), "arm-gcc")
        results = {
            "gcc": run_host(build_host([files.bundle], Path(temporary) / "gcc", "gcc"), jobs),
            "zig": run_host(build_host([files.bundle], Path(temporary) / "zig", "zig"), jobs),
            "unicorn": run_unicorn(elf, core, jobs),
            "qemu": run_qemu(elf, board, jobs),
        }
    return {backend: mismatches(files.bundle, found, runs, feeds) for backend, found in results.items()}


def test_the_demo_writes_its_measurements_and_prints_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two epochs are enough to see all of it."""
    require_tool("zig", "unicorn", "elftools", "capstone", "cffi")
    monkeypatch.setattr(demo, "EPOCHS", 2)
    monkeypatch.setattr("japanese_vowels.train.EPOCHS", 2)
    monkeypatch.setattr(demo, "RETRAINING_EPOCHS", 2)
    monkeypatch.setattr(demo, "REPOSITORY", tmp_path)
    usage = tmp_path / "examples" / "host" / "usage.txt"
    usage.parent.mkdir(parents=True)
    usage.write_text("vowels_push(&state, frame);")
    monkeypatch.setattr("sys.argv", ["demo.py", "--on", "host,unicorn"])
    demo.main()
    printed = capsys.readouterr().out
    assert "build/demo/sparse" in printed
    assert "vowels_push(&state, frame);" in printed
    folder = tmp_path / "build" / "demo"
    summary, validation, profile = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("summary", "validate", "profile")
    )
    assert list(summary) == [
        "accuracy_source",
        "accuracy_chip",
        "label_agreement",
        "mismatches",
        "flash_bytes",
        "ram_bytes",
        "instructions_per_step_dense",
        "instructions_per_step_sparse",
        "seconds",
    ]
    assert summary["mismatches"] == 0
    assert summary["accuracy_chip"] == validation["accuracy_c"]["unicorn"]
    assert f"{summary['accuracy_chip']:.2%}" in printed
    assert summary["flash_bytes"] == profile["flash_bytes"]["total"]
    assert summary["instructions_per_step_sparse"] == profile["instructions_per_step"]
    assert summary["instructions_per_step_sparse"] < summary["instructions_per_step_dense"]
    assert load_bundle(folder / "sparse").name == "vowels"
    assert load_core(load_bundle(folder / "sparse").target).name == "cortex-m4"


def test_points_are_the_chips_accuracy_less_the_floats() -> None:
    results = [SeedResult(seed, 0.98, 0.97, chip, 0.99, 0) for seed, chip in enumerate((0.97, 0.975, 0.99))]
    assert [round(result.points, 2) for result in results] == [-1.0, -0.5, 1.0]
    assert round(median_points(results), 2) == -0.5
    assert to_json(results)["median_points"] == -0.5
    assert [row["seed"] for row in to_json(results)["seeds"]] == [0, 1, 2]
