"""Inputs and outputs that look like a state: the same shape going in and coming out."""

from difflib import SequenceMatcher

from stepcell.importers.graph import Graph, GraphInput
from stepcell.ir import Source

Shape = tuple[int | str, ...]


def proposed_states(graph: Graph, source: Source | None = None) -> list[str]:
    """Options like `--state h=hn`, one for each float input that has an output of its shape, likeliest first.

    `source` knows the outputs' shapes where the file does not state them.
    """
    shapes: dict[str, Shape | None] = dict(zip(graph.outputs, graph.output_shapes, strict=False))
    for tensor in source.outputs if source else ():
        shapes[tensor.name] = tuple("?" if size is None else size for size in tensor.shape)
    pairs = [
        (SequenceMatcher(None, source.name, output).ratio(), source.name, output)
        for source in graph.inputs
        for output, shape in shapes.items()
        if shape is not None and _alike(source, shape)
    ]
    found: dict[str, str] = {}
    for _, tensor_in, tensor_out in sorted(pairs, key=lambda pair: -pair[0]):
        if tensor_in not in found and tensor_out not in found.values():
            found[tensor_in] = tensor_out
    return [f"--state {tensor_in}={tensor_out}" for tensor_in, tensor_out in found.items()]


def _alike(source: GraphInput, shape: Shape) -> bool:
    """Whether an output could be handed back to an input: sizes equal, at least one of them more than one."""
    if source.dtype.kind != "f" or len(source.shape) != len(shape):
        return False
    sizes = [
        (a, b) for a, b in zip(source.shape, shape, strict=True) if isinstance(a, int) and isinstance(b, int)
    ]
    return all(a == b for a, b in sizes) and any(a > 1 for a, _ in sizes)
