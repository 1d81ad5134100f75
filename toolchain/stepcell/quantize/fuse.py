"""A relu that follows a dense layer becomes part of it."""

from dataclasses import replace

from stepcell.ir.qmodel import QActivate, QConv, QDense, QOp, q_reads


def fuse_relu(ops: tuple[QOp, ...], kept: tuple[str, ...]) -> tuple[QOp, ...]:
    """Merge Dense -> relu pairs, unless the value between is read elsewhere or is in `kept`."""
    fused: list[QOp] = []
    for op in ops:
        previous = fused[-1] if fused else None
        if (
            isinstance(op, QActivate)
            and op.function == "relu"
            and isinstance(previous, QDense | QConv)
            and previous.y.name == op.x
            and op.x not in kept
            and sum(op.x in q_reads(other) for other in ops) == 1
        ):
            fused[-1] = replace(previous, y=op.y, relu=True)
        else:
            fused.append(op)
    return tuple(fused)
