"""Test-wide rules: one thread, no chance and no skip in CI, golden files, needed programs."""

from __future__ import annotations

import os

# Before anything imports torch or BLAS: with matrices of 32 rows, threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["pytester"]

IN_CI = os.environ.get("CI") == "true"
GOLDEN_LINES = 150  # a golden file that nobody can review proves nothing

FSDD = Path(os.environ.get("STEPCELL_FSDD", Path(__file__).parents[2] / "shared/data/fsdd/fsdd.tar.xz"))

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if IN_CI else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-golden."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files from this run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, by count and not as skips, the tests of a data set that this machine does not have."""
    if FSDD.is_file():
        return
    left_out = [item for item in items if item.get_closest_marker("fsdd")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked needs("program", ...) where one of them is not installed."""
    programs = [program for mark in item.iter_markers("needs") for program in mark.args]
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make system-packages)")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI=true a skipped test fails the session: nothing may be left unproven for a missing tool."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not IN_CI or reporter is None or hasattr(session.config, "workerinput"):
        return
    skipped = reporter.stats.get("skipped", [])
    for report in skipped:
        reporter.write_line(f"SKIPPED IN CI: {report.nodeid}: {report.longrepr[-1]}", red=True)
    if skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function that compares text with tests/golden/<test file>/<test>.txt (or another name there)."""

    def check(text: str, name: str | None = None) -> None:
        folder = Path(__file__).parent / "golden" / request.path.stem
        path = folder / (name or f"{request.node.name}.txt")
        assert text.count("\n") <= GOLDEN_LINES, f"{path.name}: over {GOLDEN_LINES} lines, test less"
        if request.config.getoption("--update-golden"):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: run `pytest --update-golden`, read it, and commit it"
        assert text == path.read_text(), f"differs from {path}: `pytest --update-golden` if that is intended"

    return check
