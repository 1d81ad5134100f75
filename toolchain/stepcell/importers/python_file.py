"""A function that a user wrote in a Python file: a factory of modules, or the task of a recipe."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stepcell.errors import StepcellError


def load_function(file: Path, function: str, hint: str) -> Callable[[], Any]:
    """`function` of `file`, which may import its neighbours.

    Raises StepcellError, with the hint, where the file or the function is missing.
    """
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise StepcellError(f"{file}: there is no such Python file.", "check the path.")
    loaded = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(loaded)
    finally:
        sys.path.pop(0)
    build = getattr(loaded, function, None)
    if not callable(build):
        raise StepcellError(f"{file.name}: it defines no function '{function}'.", hint)
    return build  # type: ignore[no-any-return]
