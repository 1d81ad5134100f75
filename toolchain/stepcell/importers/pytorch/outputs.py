"""What forward() returns, by name, and which of a module's buffers it overwrites."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stepcell.errors import StepcellError
from stepcell.importers.names import identifier


def output_names(program: Any) -> list[str]:
    """A name for every tensor that the program returns, the buffers that it overwrites first.

    In a dict or a named tuple an output has its key's name (h_next, where an input is called h); else it is
    output_0, output_1, ... in order, and `output` where it is the only one.
    """
    specs = [spec for spec in program.graph_signature.output_specs if spec.arg is not None]
    buffers = [f"{_plain(spec.target)}_next" for spec in specs if spec.kind.name == "BUFFER_MUTATION"]
    keys = _keys(program.call_spec.out_spec)
    returned = [
        key
        for spec, key in zip(specs[len(buffers) :], keys, strict=False)
        if getattr(spec.arg, "name", None) is not None
    ]
    inputs = {spec.arg.name for spec in program.graph_signature.input_specs if hasattr(spec.arg, "name")}
    return buffers + _names(returned, set(buffers), inputs)


def _names(keys: Sequence[str | None], taken: set[str], inputs: set[str]) -> list[str]:
    if list(keys) == [None]:
        return ["output"]
    often = {key for key, count in Counter(keys).items() if count > 1} | taken
    names = [
        f"output_{i}" if key is None or key in often else identifier(key, f"output_{i}")
        for i, key in enumerate(keys)
    ]
    return [f"{name}_next" if name in inputs else name for name in names]


def _keys(spec: Any) -> list[str | None]:
    """The innermost key of every leaf; None where it has only a position."""
    from torch.utils import _pytree

    leaves = _pytree.tree_unflatten([0] * spec.num_leaves, spec)
    return [_key(path) for path, _ in _pytree.tree_flatten_with_path(leaves)[0]]


def _key(path: Sequence[Any]) -> str | None:
    named = [getattr(part, "key", None) or getattr(part, "name", None) for part in path]
    return next((str(name) for name in reversed(named) if isinstance(name, str)), None)


def _plain(name: str) -> str:
    return name.replace(".", "_")


def overwritten_buffers(program: Any, file: str) -> dict[str, str]:
    """{output: buffer} of the buffers that forward() overwrites.

    Raises StepcellError where it overwrites an input instead.
    """
    found: dict[str, str] = {}
    for spec in program.graph_signature.output_specs:
        match spec.kind.name:
            case "BUFFER_MUTATION":
                found[f"{_plain(spec.target)}_next"] = spec.target
            case "USER_INPUT_MUTATION":
                raise StepcellError(
                    f"{file}: forward() overwrites its input '{spec.target}'.",
                    "return the new value as an output, and name the pair with --state INPUT=OUTPUT.",
                )
            case _:
                pass
    return found
