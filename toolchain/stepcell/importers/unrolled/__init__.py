"""A layer that a converter unrolled over time, found again as an ONNX Scan.

Such a graph picks every frame of a sequence by its number, and repeats the same nodes for each. What a node
computes is named by its operator, its constants and what its inputs are named; a frame is just "the frame",
and what an earlier frame led to is just "a state". Frames from the second on then have equal names for equal
things, and what one frame reads of the one before are the states. Where the first frame fits, too - it has no
state to read, and converters fold the zeros - is proven with numbers.
"""

from stepcell.importers.graph import Graph
from stepcell.importers.unrolled.cells import all_frames, cell_of, steps_of
from stepcell.importers.unrolled.proof import zeros_of
from stepcell.importers.unrolled.scan import with_scan


def rolled(graph: Graph) -> Graph:
    """The graph with every unrolled layer as a Scan; what does not fit stays as it is."""
    while (found := _roll_one(graph)) is not None:
        graph = found
    return graph


def _roll_one(graph: Graph) -> Graph | None:
    for frames in all_frames(graph):
        steps = steps_of(graph, frames)
        cell = None if steps is None else cell_of(graph, steps)
        zeros = None if steps is None or cell is None else zeros_of(graph, steps, cell)
        if steps is not None and cell is not None and zeros is not None:
            made = with_scan(graph, steps, cell, zeros)
            if made is not None:
                return made
    return None


__all__ = ["rolled"]
