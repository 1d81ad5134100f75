"""The compression benchmark on a tiny model: what its rows hold, and that a killed run goes on."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compression.tasks
from compression import bench
from compression.methods import measured, source
from compression.rows import Case, Found, Row, add, load_rows, save_rows
from compression.summary import grids, markdown
from compression.tasks import BENCHMARKS, Benchmark
from sequences.dataset import Dataset
from sequences.training import Recipe
from stepcell.compress import CRITERIA
from stepcell.compress.criteria import SECOND_ORDER

TASK = "digits-lstm64"
SCHEMA = {
    "task": str,
    "cell": str,
    "criterion": str,
    "pattern": str,
    "density": float,
    "training": str,
    "bits": int,
    "seeds": list,
    "accuracy_float": list,
    "accuracy": list,
    "label_agreement": list,
    "weight_bytes": int,
    "instructions_per_step_m4": int,
}
CASE = Case(TASK, "magnitude", "4x1", 0.5, "none", 8)
FULL = [
    Case(TASK, criterion, pattern, density, training, bits)
    for training, criterion, pattern, density, bits in bench.methods(quick=False)
]


def speakers() -> tuple[Dataset, Dataset]:
    """Two classes, told apart by the mean of the first feature: 40 to train on, 20 to test."""
    return _speakers(40, 1), _speakers(20, 2)


def _speakers(count: int, seed: int) -> Dataset:
    random = np.random.default_rng(seed)
    y = np.arange(count, dtype=np.int64) % 2
    x = random.normal(size=(count, 6, 4)).astype(np.float32)
    x[:, :, 0] += np.where(y == 1, 2.0, -2.0)[:, None]
    return Dataset(x, np.full(count, 6, np.int64), y)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The digits' place is taken by an LSTM of 8 units that learns in a second; where results go."""
    recipe = Recipe(batch=8, learning_rate=2e-2, frame_noise=0.2, sequence_noise=0.1)
    monkeypatch.setitem(BENCHMARKS, TASK, Benchmark(TASK, speakers, 0.25, "lstm", 8, 8, recipe))
    monkeypatch.setattr(compression.tasks, "SOURCES", tmp_path / "sources")
    return tmp_path / "compression.json"


def run(file: Path, *options: str) -> list[dict[str, Any]]:
    source.cache_clear()
    where = ["--quick", "--tasks", TASK, "--processes", "1", "--output", str(file)]
    assert bench.main([*where, *options]) == 0
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def test_every_row_says_what_was_done_and_what_each_seed_reached(tiny: Path) -> None:
    rows = run(tiny, "--seeds", "0", "1")
    assert len(rows) == len(bench.QUICK)
    for row in rows:
        assert {name: type(value) for name, value in row.items()} == SCHEMA
        assert row["task"] == TASK
        assert row["cell"] == "lstm"
        assert row["seeds"] == [0, 1]
        for name in ("accuracy_float", "accuracy", "label_agreement"):
            assert len(row[name]) == 2
            assert all(0.0 <= value <= 1.0 for value in row[name])
    assert {row["training"] for row in rows} == {"none", "unlabelled", "labelled"}
    dense = next(row for row in rows if (row["criterion"], row["bits"]) == ("none", 8))
    assert min(dense["accuracy_float"]) >= 0.9
    assert min(dense["accuracy"]) >= 0.9
    pruned = next(row for row in rows if (row["training"], row["density"]) == ("labelled", 0.1))
    assert pruned["weight_bytes"] < dense["weight_bytes"]
    assert pruned["instructions_per_step_m4"] < dense["instructions_per_step_m4"]
    assert TASK in tiny.with_suffix(".md").read_text()


def test_a_killed_run_does_only_what_is_missing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tiny, "--only", "none", "--seeds", "0", "1")
    del whole[1]["seeds"][1], whole[1]["accuracy"][1], whole[1]["accuracy_float"][1]
    del whole[1]["label_agreement"][1]
    tiny.write_text(json.dumps([row for i, row in enumerate(whole) if i != 2]))
    done: list[Case] = []

    def noted(cases: Sequence[Case], seed: int, quick: bool) -> Iterator[tuple[Case, Found]]:
        done.extend(cases)
        return measured(cases, seed, quick)

    monkeypatch.setattr(bench, "measured", noted)
    again = run(tiny, "--only", "none", "--seeds", "0", "1")
    missing = {(row["criterion"], row["pattern"]) for row in whole[1:3]}
    assert {(case.criterion, case.pattern) for case in done} == missing
    assert len(done) == 3  # the second seed of one row, both of another
    assert sorted(map(str, again)) == sorted(
        map(str, run(tiny, "--only", "none", "--fresh", "--seeds", "0", "1"))
    )


def test_a_full_run_has_every_criterion_in_every_pattern_at_every_density() -> None:
    untrained = {case[1:4] for case in FULL if case.training == "none" and case.criterion != "none"}
    assert untrained == {
        (criterion, pattern, density)
        for criterion in (*CRITERIA, SECOND_ORDER)
        for pattern, densities in bench.PATTERNS.items()
        for density in densities
        if (criterion, pattern) != (SECOND_ORDER, "units")
    }
    assert len(FULL) == len(set(FULL))


def test_seeds_stand_in_order_and_none_is_counted_twice() -> None:
    rows: list[Row] = []
    for seed, accuracy, size in ((2, 0.8, 10), (0, 0.9, 12), (1, 1.0, 11)):
        add(rows, CASE, "lstm", seed, Found(1.0, accuracy, accuracy, size, 100))
    (row,) = rows
    assert (row.seeds, row.accuracy, row.weight_bytes) == ([0, 1, 2], [0.9, 1.0, 0.8], 12)
    with pytest.raises(ValueError, match="seed 1 is there already"):
        add(rows, CASE, "lstm", 1, Found(1.0, 1.0, 1.0, 10, 100))


def test_rows_come_back_from_their_file(tmp_path: Path) -> None:
    rows: list[Row] = []
    add(rows, CASE, "lstm", 0, Found(1.0, 0.9, 0.8, 10, 100))
    save_rows(tmp_path / "rows.json", rows)
    assert load_rows(tmp_path / "rows.json") == rows
    assert load_rows(tmp_path / "nothing.json") == []
    assert [field.name for field in fields(Row)] == list(SCHEMA)


def test_tables_give_mean_and_spread() -> None:
    rows: list[Row] = []
    for seed, accuracy in enumerate((0.9, 1.0)):
        add(rows, CASE, "lstm", seed, Found(1.0, accuracy, accuracy, 1234, 567))
    accuracies, costs = grids(rows)
    deviation = 100 * math.sqrt(2 * 0.05**2)
    assert accuracies.lines == (("4x1", "magnitude", f"95.0 ± {deviation:.1f}"),)
    assert costs.lines == (("4x1", "1,234; 567"),)
    assert "| 4x1 | magnitude | 95.0 ± 7.1 |" in markdown(rows)
