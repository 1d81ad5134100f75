"""Conv, and Take with padding, as nodes: channels first, and every leading axis a batch."""

from typing import TYPE_CHECKING

import numpy as np

from stepcell.ir.ops import Conv, Take

if TYPE_CHECKING:
    from stepcell.exporters.float_writer import Writer


def conv(w: "Writer", op: Conv, lead_shape: str) -> None:
    """Conv between what brings channels first and last again; `lead_shape` is that of the batch."""
    name, shape, y = op.y.name, w.shapes[op.x], op.y.shape
    weights = np.moveaxis(w.model.weights[op.weights], -1, 1)
    rank = len(shape) - 1
    batch = w.add("Reshape", [w.names[op.x], w.ints(-1, *shape)], f"{name}_batch")
    first = w.add("Transpose", [batch], f"{name}_channels_first", perm=[0, rank + 1, *range(1, rank + 1)])
    tensors = [w.array(f"{op.weights}_first", weights), w.array(op.bias, w.model.weights[op.bias])]
    made = w.add(
        "Conv",
        [first, *tensors],
        f"{name}_conv",
        kernel_shape=list(weights.shape[2:]),
        strides=list(op.strides),
        dilations=list(op.dilations),
        pads=[*(before for before, _ in op.pads), *(after for _, after in op.pads)],
        group=op.groups,
    )
    last = w.add("Transpose", [made], f"{name}_channels_last", perm=[0, *range(2, rank + 2), 1])
    target = w.add("Concat", [lead_shape, w.ints(*y)], f"{name}_shape", axis=0)
    w.add("Reshape", [last, target], w.define(op.y))


def take(w: "Writer", op: Take) -> None:
    """Gather; of a tensor with a zero behind it, where an index is -1."""
    flat = w.flat(op.x, f"{op.y.name}_flat")
    indices = np.array(op.indices)
    if (indices < 0).any():
        pads = [*[0] * (2 * w.lead + 1), 1]
        size = int(np.prod(w.shapes[op.x], dtype=int))
        flat = w.add("Pad", [flat, w.ints(*pads)], f"{op.y.name}_padded")
        indices = np.where(indices < 0, size, indices)
    taken = w.add("Gather", [flat, w.ints(*(int(i) for i in indices))], f"{op.y.name}_taken", axis=w.lead)
    w.reshaped(taken, op.y.shape, w.define(op.y))
