"""`factory.py:function`: a user's function that builds the module, or several, and a file of weights."""

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepcell.errors import StepcellError
from stepcell.importers.functions import join
from stepcell.importers.memories import attended, every_step, is_streamed, remembered
from stepcell.importers.names import model_name
from stepcell.importers.python_file import load_function
from stepcell.importers.pytorch import import_torch
from stepcell.importers.pytorch.weights import load_weights
from stepcell.importers.sharing import Part, Port
from stepcell.ir import Model
from stepcell.ir.model import FloatArray

if TYPE_CHECKING:
    import torch

_EXAMPLE_STEPS = 7
"""A length unlike common layer sizes, so that a size in the trace that depends on it is recognised."""

Shapes = Mapping[str, Sequence[int | str | None]]
Modules = Mapping[str, "torch.nn.Module"]


def import_factory(
    file: Path,
    function: str,
    name: str | None = None,
    weights: Path | str | None = None,
    shapes: Shapes | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
    max_steps: int | None = None,
) -> Model:
    """The Model of what `function` in `file` returns, its weights loaded with `weights_only=True`.

    That is a module, or a dict of modules by the name of the function that each becomes. shapes gives one
    input shape per argument of forward(), in order, ("FUNCTION.x" where there are several modules): numbers,
    anything else for a free axis, "int" at the end for integers. Without it calibration [N, T, ...] gives
    the shape. states and max_steps: see `import_torch`; between functions {"decode.h": "encode.h"}.

    Raises StepcellError if the file, the function, the weights or a shape is missing.
    """
    import torch

    built = load_function(file, function, "write factory.py:function.")()
    if weights is not None:
        load_weights(built, Path(weights))
    name = name or file.stem
    if isinstance(built, torch.nn.Module):
        examples = _examples(file, built, shapes, calibration)
        return import_torch(built, examples, name, calibration, states, max_steps)
    if (
        not isinstance(built, Mapping)
        or not built
        or not all(
            isinstance(key, str) and isinstance(module, torch.nn.Module) for key, module in built.items()
        )
    ):
        raise StepcellError(
            f"{file.name}: {function}() returned {type(built).__name__}, not an nn.Module.",
            "return the module, or a dict of modules by the names of their functions.",
        )
    return _join(file, built, model_name(name, name), shapes, states, max_steps)


def _join(
    file: Path,
    modules: Modules,
    name: str,
    shapes: Shapes | None,
    states: Mapping[str, str] | None,
    max_steps: int | None,
) -> Model:
    own, links = _split_states(file, modules, states or {})
    parts: dict[str, Part] = {}
    shared: list[tuple[Port, Port]] = []
    for function, module in modules.items():
        prefix = f"{function}."
        given = {k.removeprefix(prefix): shape for k, shape in (shapes or {}).items() if k.startswith(prefix)}
        examples = _examples(file, module, given, None, prefix)
        inputs = _shapes_by_name(module, examples)
        build = partial(import_torch, module, examples, name, states=own[function], max_steps=max_steps)
        candidates = attended(file.name, function, inputs, parts, links)
        model, memories = _either(build, parts, candidates)
        parts = remembered(file.name, parts, memories, model) | {function: Part(model, inputs)}
        shared += [((function, x), port) for x, port in memories.items()]
    return join(name, file.name, parts, [link for link in links if link not in shared], shared)


def _either(
    build: Callable[..., Model], parts: Mapping[str, Part], memories: Mapping[str, Port]
) -> tuple[Model, Mapping[str, Port]]:
    """The Model of a function that reads what another gives step by step, or else all of it at every step."""
    if not memories:
        return build(), {}
    with contextlib.suppress(StepcellError):
        model = build()
        if is_streamed(model, parts, memories):
            return model, {}
    axes = {x: every_step(parts[function])[output] for x, (function, output) in memories.items()}
    return build(memories=axes), memories


def _split_states(
    file: Path, modules: Modules, states: Mapping[str, str]
) -> tuple[dict[str, dict[str, str]], list[tuple[Port, Port]]]:
    """{"decode.h": "decode.1"} is decode's own state, {"decode.h": "encode.h"} one that the two share."""
    own: dict[str, dict[str, str]] = {function: {} for function in modules}
    links: list[tuple[Port, Port]] = []
    for tensor_in, tensor_out in states.items():
        (inside, _, x), (outside, _, y) = tensor_in.partition("."), tensor_out.partition(".")
        if inside not in modules or outside not in modules or not x or not y:
            raise StepcellError(
                f"{file.name}: the state {tensor_in}={tensor_out} names no function; there are "
                f"{', '.join(modules)}.",
                "write --state FUNCTION.INPUT=FUNCTION.OUTPUT.",
            )
        if inside == outside:
            own[inside][x] = y
        else:
            links.append(((inside, x), (outside, y)))
    return own, links


def _examples(
    file: Path,
    module: "torch.nn.Module",
    shapes: Shapes | None,
    calibration: FloatArray | None,
    prefix: str = "",
) -> tuple[Any, ...]:
    """Zeros for every argument of forward(); state_0 and state_1 are the parts of a tuple `state`."""
    import torch

    if shapes:
        given = {key: _zeros(shape) for key, shape in shapes.items()}
    elif calibration is not None:
        dtype = torch.int64 if calibration.dtype.kind in "iu" else torch.float32
        given = {"x": torch.zeros([1, _EXAMPLE_STEPS, *calibration.shape[2:]], dtype=dtype)}
    else:
        what = f"the inputs of {prefix[:-1]}" if prefix else "its input"
        raise StepcellError(
            f"{file.name}: the shape of {what} is not known.",
            f"give it: --shape {prefix}x=1,T,40, or x=1,T,int for tokens.",
        )
    return _grouped(given, list(inspect.signature(module.forward).parameters))


def _grouped(given: "Mapping[str, torch.Tensor]", names: list[str]) -> tuple[Any, ...]:
    parts: dict[str, Any] = {}
    for key, tensor in given.items():
        base, _, number = key.rpartition("_")
        if key in names or not number.isdigit() or base not in names:
            parts[key] = tensor
        else:
            parts[base] = (*parts.get(base, ()), tensor)
    if set(parts) <= set(names):
        return tuple(parts[name] for name in names if name in parts)
    return tuple(parts.values())  # other names: in the order given


def _zeros(shape: Sequence[int | str | None]) -> "torch.Tensor":
    import torch

    whole = bool(shape) and shape[-1] == "int"
    sizes = [n if isinstance(n, int) else _EXAMPLE_STEPS for n in (shape[:-1] if whole else shape)]
    return torch.zeros(sizes, dtype=torch.int64 if whole else torch.float32)


def _shapes_by_name(module: "torch.nn.Module", examples: tuple[Any, ...]) -> dict[str, tuple[int, ...]]:
    """The examples' shapes by the names that torch.export gives them."""
    found: dict[str, tuple[int, ...]] = {}
    for name, example in zip(inspect.signature(module.forward).parameters, examples, strict=False):
        if isinstance(example, tuple):
            found |= {f"{name}_{k}": tuple(part.shape) for k, part in enumerate(example)}
        else:
            found[name] = tuple(example.shape)
    return found
