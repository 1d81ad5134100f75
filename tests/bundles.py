"""The hand-written bundles of tests/fixtures, whole or with one file changed."""

import shutil
from pathlib import Path

from stepcell.build import Bundle, load_bundle

_FIXTURES = Path(__file__).parent / "fixtures"


def fixture_bundle(name: str) -> Bundle:
    """The bundle `counter` (one input, two calls) or `mixer` (two inputs and outputs, divides)."""
    return load_bundle(_FIXTURES / f"bundle_{name}")


def changed_bundle(folder: Path, name: str, file: str, old: str, new: str) -> Bundle:
    """A copy of a bundle in `folder`, where `new` replaces the one `old` in one file."""
    copy = folder / f"bundle_{name}"
    shutil.copytree(_FIXTURES / copy.name, copy)
    text = (copy / file).read_text()
    assert text.count(old) == 1
    (copy / file).write_text(text.replace(old, new))
    return load_bundle(copy)
