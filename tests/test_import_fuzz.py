"""Damaged model files: imported or refused, whatever was done to them (`make fuzz` tries many more)."""

from pathlib import Path

from fuzz_corpus import corpus
from fuzz_imports import run_cases

CASES = 400


def test_damaged_files_are_imported_or_refused(tmp_path: Path) -> None:
    endings, findings = run_cases(corpus(tmp_path / "corpus"), range(CASES), tmp_path / "work")
    assert not findings
    assert sum(endings.values()) == CASES
    assert min(endings["imported"], endings["refused"]) > CASES // 20
