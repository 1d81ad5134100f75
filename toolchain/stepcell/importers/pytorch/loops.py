"""Python loops over time, found again in a trace of every iteration: `for t in range(T): ... x[:, t] ...`.

An iteration is a block of nodes that repeats T times. Blocks are equal if their nodes are, if each reads its
own step of the sequences, and what they carry comes from the block before. They then become one Scan; whether
the loop does the same at other lengths is for the import check to find out, which runs the module.
"""

from dataclasses import replace

from stepcell.importers.graph import Graph, reachable
from stepcell.importers.pytorch.iterations import (
    SequenceAxis,
    Shapes,
    complete_sequences,
    loop_over,
    picks_of,
)
from stepcell.importers.pytorch.scan import with_scan


def roll_up(graph: Graph, shapes: Shapes) -> Graph:
    """The graph with its loops over time as Scan nodes; `shapes` are those of the trace, and grow."""
    tried: set[SequenceAxis] = set()
    graph = replace(graph, nodes=reachable(graph))
    while True:
        picks = picks_of(graph, shapes)
        complete = complete_sequences(picks, shapes)
        picks = {name: pick for name, pick in picks.items() if pick.sequence in complete}
        waiting = [sequence for sequence in complete if sequence not in tried]
        if not waiting:
            return graph
        tried.add(waiting[0])
        loop = loop_over(graph, picks, waiting[0], shapes)
        if loop is not None:
            graph = with_scan(graph, loop, picks, shapes)
