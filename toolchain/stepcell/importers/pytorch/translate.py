"""From torch.export's graph of aten operations to a Graph of nodes with ONNX meaning."""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder
from stepcell.importers.graph import Array, Graph, GraphInput, Node
from stepcell.importers.pytorch.aten import IGNORED, TRANSLATORS
from stepcell.importers.pytorch.outputs import output_names, overwritten_buffers

_SIZES: dict[Callable[..., Any], str] = {
    operator.add: "Add",
    operator.sub: "Sub",
    operator.mul: "Mul",
    operator.floordiv: "Div",
}
"""Arithmetic of sizes; // and ONNX's integer division are the same for what is not negative."""


@dataclass(frozen=True, eq=False)
class Traced:
    """A program as a Graph, with the example's shapes, and the states that the module itself keeps."""

    graph: Graph
    shapes: dict[str, tuple[int, ...]]
    buffers: dict[str, str]
    """input of the graph -> the module's buffer that it is"""
    overwritten: dict[str, str]
    """input of the graph -> the output that the buffer becomes"""

    def bounded(
        self, max_steps: int | None, memories: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    ) -> "Traced":
        """The program for sequences of so many steps, however many the example had.

        memories: inputs that hold every step of another function, and what their axes are.
        """
        return replace(self, graph=replace(self.graph, max_steps=max_steps, memories=memories))


def to_graph(program: Any, file: str, sha256: str) -> Traced:
    """The Graph of an ExportedProgram whose recurrent layers are whole.

    Outputs are named as forward() names them: by key in a dict or a named tuple, else output_0, output_1, ...

    An aten operation that is not allowed becomes a refused node.
    """
    builder = Builder(file)
    changed = overwritten_buffers(program, file)
    kept = {k: v for k, v in program.graph_signature.inputs_to_buffers.items() if v in changed.values()}
    known = {name: array for name, array in _parameters(program).items() if name not in kept}
    builder.constants.update(known)
    inputs = [_input(node, file) for node in _placeholders(program) if node.name not in known]
    values = _translated(builder, program)
    made = [_read(values, item) for item in _results(program)]
    names = output_names(program)
    outputs = tuple(_named(builder, value, name) for value, name in zip(made, names, strict=True))
    graph = Graph(file, "torch", sha256, 20, tuple(inputs), outputs, tuple(builder.nodes), builder.constants)
    written = {buffer: name for name, buffer in changed.items()}
    return Traced(graph, builder.shapes, kept, {name: written[buffer] for name, buffer in kept.items()})


def _placeholders(program: Any) -> Iterator[Any]:
    return (node for node in program.graph.nodes if node.op == "placeholder")


def _results(program: Any) -> list[Any]:
    (found,) = (node for node in program.graph.nodes if node.op == "output")
    return [item for item in found.args[0] if item is not None]


def _translated(builder: Builder, program: Any) -> dict[str, Any]:
    """What every node of the program is: a name in the Graph, a list of names, or a number."""
    values: dict[str, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            values[node.name] = node.name
        elif node.op != "output" and str(node.target) not in IGNORED:
            values[node.name] = _translate_or_refuse(builder, node, values)
        _note(builder, values.get(node.name), node.meta.get("val"))
    return values


def _note(builder: Builder, value: Any, found: Any) -> None:
    """Remember the shape that PyTorch computed for a value, and whether it holds integers."""
    if isinstance(value, list) and isinstance(found, (list, tuple)):
        for part, one in zip(value, found, strict=False):
            _note(builder, part, one)
    elif isinstance(value, str) and hasattr(found, "shape"):
        builder.shapes[value] = tuple(_as_int(size) for size in found.shape)
        if not found.dtype.is_floating_point:
            builder.integers.add(value)


def _as_int(size: Any) -> int:
    """A size; that of a free axis is the example's."""
    return size if isinstance(size, int) else int(size.node.hint)


def _named(builder: Builder, value: str, name: str) -> str:
    """An output by the user's name for it."""
    builder.nodes.append(Node("Identity", name, (value,), (name,)))
    return name


def _parameters(program: Any) -> dict[str, Array]:
    signature = program.graph_signature
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    named |= signature.inputs_to_lifted_tensor_constants
    stored = {**program.constants, **program.state_dict}
    return {placeholder: _array(stored[name]) for placeholder, name in named.items()}


def _array(tensor: Any) -> Array:
    found = tensor.detach().cpu()
    array: Array = (found.float() if found.is_floating_point() else found).numpy()
    return array


def _input(node: Any, file: str) -> GraphInput:
    found = node.meta.get("val")
    if not hasattr(found, "shape"):
        raise StepcellError(
            f"{file}: its input '{node.name}' is not a tensor.", "take only tensors in forward()."
        )
    dtype = np.dtype(str(found.dtype).removeprefix("torch.").replace("bfloat16", "float32"))
    shape = tuple(size if isinstance(size, int) else str(size) for size in found.shape)
    return GraphInput(node.name, shape, dtype)


def _translate_or_refuse(builder: Builder, node: Any, values: dict[str, Any]) -> Any:
    """What `_translate` gives, or the names of what a refused node would make."""
    reads = tuple(_names([_read(values, item) for item in (*node.args, *node.kwargs.values())]))
    try:
        _require_known(builder, node)
        if node.target is operator.getitem or not builder.refused.intersection(reads):
            return _translate(builder, node, values)
        refusal = None
    except StepcellError as found:
        refusal = found
    made = node.meta.get("val")
    several = isinstance(made, (list, tuple))
    names = builder.refuse(_where(node), reads, len(made) if several else 1, refusal)
    return list(names) if several else names[0]


def _names(item: Any) -> Iterator[str]:
    """The tensors among what an operation is given."""
    if isinstance(item, list):
        for part in item:
            yield from _names(part)
    elif isinstance(item, str):
        yield item


def _require_known(builder: Builder, node: Any) -> None:
    target = str(node.target)
    if node.target is operator.getitem or node.target in _SIZES or target in TRANSLATORS:
        return
    allowed = ", ".join(sorted({name.split(".")[1].lstrip("_") for name in TRANSLATORS}))
    raise StepcellError(
        f"{builder.file}: node '{_where(node)}' ({target}) is an unsupported operation.",
        f"write it in terms of others; allowed are {allowed}.",
    )


def _translate(builder: Builder, node: Any, values: dict[str, Any]) -> Any:
    args = [_read(values, item) for item in node.args]
    if node.target is operator.getitem:
        return args[0][args[1]]
    where = _where(node)
    if node.target in _SIZES:
        numbers = (arg if isinstance(arg, str) else builder.constant(np.int64(arg)) for arg in args)
        return builder.one(_SIZES[node.target], where, *numbers)
    kwargs = {key: _read(values, item) for key, item in node.kwargs.items()}
    return TRANSLATORS[str(node.target)](builder, where, args, kwargs)


def _read(values: dict[str, Any], item: Any) -> Any:
    if isinstance(item, (list, tuple)):
        return [_read(values, part) for part in item]
    return values[item.name] if hasattr(item, "name") and hasattr(item, "op") else item


def _where(node: Any) -> str:
    """The path of the module that a node belongs to, and the node's name."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return f"{path}.{node.name}" if path else str(node.name)
