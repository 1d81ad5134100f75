"""Files of a bundle that somebody changed: what a compiler says of those is no bug of stepcell."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stepcell.build.bundle import Bundle
from stepcell.build.objects import CompileError
from stepcell.errors import StepcellError


@contextmanager
def blaming_changes(bundles: Sequence[Bundle]) -> Iterator[None]:
    """Turn a CompileError into a StepcellError where a file is not as `stepcell compile` wrote it."""
    try:
        yield
    except CompileError as error:
        changed = [path for bundle in bundles for path in _changed_files(bundle)]
        if not changed:
            raise
        raise StepcellError(
            f"{', '.join(changed)} changed since stepcell wrote it, and the compiler refuses it: "
            f"{_first_complaint(str(error))}",
            "compile the model again, or undo the change.",
        ) from error


def _changed_files(bundle: Bundle) -> list[str]:
    """Files that differ from the manifest's hashes; hand-made bundles have none."""
    hashes = json.loads((bundle.folder / "manifest.json").read_bytes()).get("files", {})
    paths = ((bundle.folder / name, wanted) for name, wanted in hashes.items() if name.endswith((".c", ".h")))
    return [str(path) for path, wanted in paths if not path.is_file() or _sha256(path) != wanted]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _first_complaint(errors: str) -> str:
    """The first line of the compiler's output that names an error; the command stands before it."""
    _, *lines = errors.splitlines()
    return next((line.strip() for line in lines if "error:" in line), lines[0] if lines else "no output")
