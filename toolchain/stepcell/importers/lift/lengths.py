"""sequence_lens: the lengths of ragged sequences, one input of the file for all of its operators.

Lengths that a file fixes say nothing, if they are the number of steps. Lengths that it takes as an input
are those that every run of a Model takes; then what follows the operators may not look beyond them.
"""

from collections.abc import Iterable

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Graph, GraphInput, Node, Unsupported
from stepcell.importers.lift.axes import BATCH, Axis, extent
from stepcell.importers.lift.context import Known, Lift, Lifted, Tensor, data

_MOVES = ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten")
"""What may stand between the input and the operator."""


def lengths_role(graph: Graph, nodes: Iterable[Node]) -> dict[str, str]:
    """{input: "lengths"} of the input that the recurrent operators take their sequence_lens from."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found: dict[str, str] = {}
    for node in nodes:
        if node.op in ("LSTM", "GRU", "RNN") and len(node.inputs) > 4 and node.inputs[4]:
            origin = _origin(node.inputs[4], makers)
            if origin in {source.name for source in graph.inputs}:
                found[origin] = "lengths"
    if len(found) > 1:
        raise StepcellError(
            f"{graph.file}: its operators take sequence_lens from {' and '.join(sorted(found))}; "
            "one is allowed.",
            "export models of several sequences one by one.",
        )
    return found | {f"{name}.0": "batch" for name in found}


def _origin(name: str, makers: dict[str, Node]) -> str:
    """What a tensor is, seen through what does not change its numbers."""
    for _ in range(len(makers)):
        node = makers.get(name)
        if node is None or node.op not in _MOVES or not node.inputs:
            break
        name = node.inputs[0]
    return name


def lengths_tensor(lift: Lift, source: GraphInput) -> Tensor:
    """The input that holds the lengths [batch]."""
    if source.dtype.kind != "i" or len(source.shape) != 1:
        raise StepcellError(
            f"{lift.graph.file}: the sequence lengths '{source.name}' are {source.dtype} "
            f"{list(source.shape)}; integers [batch] are allowed.",
            "feed one length a sequence.",
        )
    return data(source.name, (1,), (BATCH,), "lengths")


def lengths_input(lift: Lift) -> str | None:
    """The input of the file that holds the lengths."""
    return next((name for name, role in lift.roles.items() if role == "lengths"), None)


def is_lengths(operand: Lifted | None) -> bool:
    """Whether an operand is the lengths of the sequences."""
    return isinstance(operand, Tensor) and operand.phase == "lengths"


def passes_lengths(node: Node, operands: list[Lifted | None]) -> bool:
    """Whether a node hands the lengths on."""
    return node.op in _MOVES and bool(operands) and is_lengths(operands[0])


def check_lengths(lift: Lift, operand: Lifted | None, time: Axis, batch: Axis) -> None:
    """The operator's sequence_lens: absent, the number of steps, or the file's lengths."""
    lengths = lengths_input(lift)
    if operand is None and lengths is not None:
        raise Unsupported(
            f"has no sequence_lens, while other operators take theirs from '{lengths}'",
            "give all of them the same lengths, or none.",
        )
    if operand is None or is_lengths(operand):
        return
    if isinstance(operand, Tensor):
        raise Unsupported(
            "computes its sequence_lens; an input of the file is allowed", "let the caller give the lengths."
        )
    _check_constant(operand, extent(time, lift.sizes), extent(batch, lift.sizes))


def _check_constant(lengths: Known, steps: int, sequences: int) -> None:
    if lengths.shape != (sequences,):
        raise Unsupported(
            f"has sequence_lens of shape {list(lengths.shape)} for another number of sequences",
            "leave sequence_lens out, or fix the batch with --shape.",
        )
    if not np.array_equal(lengths, np.full(sequences, steps)):
        raise Unsupported(
            f"has the constant sequence_lens {', '.join(map(str, lengths[:4].tolist()))}"
            f"{', ...' if sequences > 4 else ''}, not the number of steps; only that constant is allowed",
            "make sequence_lens an input of the file; if all steps count, fix their number with --shape.",
        )


def refuse_padding(lift: Lift) -> None:
    """What looks at all steps would look at the padding of shorter sequences, too."""
    lengths = lengths_input(lift)
    if lengths is not None:
        raise Unsupported(
            f"looks at every step of ragged sequences (their lengths are '{lengths}'), so at padding, too",
            "read Y_h, or export without sequence_lens.",
        )
