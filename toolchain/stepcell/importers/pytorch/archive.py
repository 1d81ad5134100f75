"""What is checked in a .pt2 file before PyTorch reads it.

torch.export.load unpickles what says that it is pickled, evaluates sizes as text, and looks functions up by
name. A program that the importer can use needs none of that, so a file that does is refused unread.
"""

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepcell.errors import StepcellError

_SYMBOL = re.compile(r"[su]\d+")
_SIZES = frozenset(
    {"Symbol", "Integer", "Add", "Mul", "Pow", "Max", "Min", "Mod", "FloorDiv", "CleanDiv", "CeilToInt"}
)
"""The functions that the sizes of free axes are written with."""
_TARGETS = ("torch.ops.", "_operator.", "torch.sym_")
_PICKLED = ("custom_obj_", "opaque_obj_", "data/aotinductor")
_LARGEST = 2**28


def check_archive(path: Path) -> None:
    """Refuse a file that is no exported program, or that holds more than numbers and a graph.

    Raises StepcellError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            graphs = [name for name in names if "/models/" in f"/{name}" and name.endswith(".json")]
            configurations = [name for name in names if name.endswith("config.json")]
            if any(archive.getinfo(name).file_size > _LARGEST for name in (*graphs, *configurations)):
                raise _refused(path, "its graph is larger than any microcontroller's")
            documents = {name: json.loads(archive.read(name)) for name in (*graphs, *configurations)}
    except (zipfile.BadZipFile, ValueError, OSError, RuntimeError) as error:
        raise _unreadable(path) from error
    if len(graphs) != 1:
        raise _unreadable(path)
    if any(part in name for name in names for part in _PICKLED):
        raise _refused(path, "it holds pickled objects")
    for document in documents.values():
        _check(path, document)


def _check(path: Path, document: Any) -> None:
    for key, value in _entries(document):
        if key == "use_pickle" and value:
            raise _refused(path, "it holds pickled tensors")
        if key == "expr_str" and not (isinstance(value, str) and _is_size(value)):
            raise _refused(path, f"it states the size {str(value)[:60]!r}")
        if key == "guards_code" and not (isinstance(value, list) and all(map(_is_guard, value))):
            raise _refused(path, "it holds conditions that are more than comparisons of sizes")
        if key == "nodes":
            _check_targets(path, value)


def _check_targets(path: Path, nodes: Any) -> None:
    for node in nodes if isinstance(nodes, list) else []:
        target = node.get("target") if isinstance(node, dict) else None
        if not isinstance(target, str) or not target.startswith(_TARGETS):
            raise _refused(path, f"it calls {str(target)[:60]!r}")


def _entries(found: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, value) of every object, from the top down."""
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _is_size(text: str) -> bool:
    """Whether a size is arithmetic of integers and symbols, and calls nothing else."""
    return _consists_of(text, ast.Call, ast.keyword, ast.Constant, ast.Name, ast.UnaryOp, ast.USub)


def _is_guard(text: Any) -> bool:
    """Whether a condition only compares sizes, such as L['x'].size()[0] >= 2."""
    allowed = (ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.BinOp, ast.operator, ast.Subscript)
    return isinstance(text, str) and _consists_of(
        text, *allowed, ast.Call, ast.Attribute, ast.Constant, ast.Name, ast.UnaryOp, ast.unaryop
    )


def _consists_of(text: str, *kinds: type[ast.AST]) -> bool:
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    nodes = list(ast.walk(tree))
    return all(isinstance(node, (*kinds, ast.Expression, ast.Load)) and _is_plain(node) for node in nodes)


def _is_plain(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in _SIZES
        case ast.Call(func=ast.Attribute(attr=name), args=[]):
            return name == "size"
        case ast.Call():
            return False
        case ast.Attribute():
            return node.attr in ("size", "shape")
        case ast.Constant(value=str(text)):
            return _SYMBOL.fullmatch(text) is not None or text.isidentifier()
        case _:
            return True


def _unreadable(path: Path) -> StepcellError:
    return StepcellError(
        f"{path.name}: it is no program that torch.export.save wrote.",
        "write it with torch.export.save(torch.export.export(module, example), file).",
    )


def _refused(path: Path, what: str) -> StepcellError:
    return StepcellError(
        f"{path.name}: {what}, which an exported recurrent network does not need.",
        "give the module itself: stepcell compile factory.py:build --weights model.pt.",
    )
