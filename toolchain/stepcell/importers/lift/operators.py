"""Which function lifts which operator."""

from collections.abc import Callable
from functools import partial

from stepcell.importers.graph import Node
from stepcell.importers.lift import (
    along_axis,
    attention_mask,
    batch_norm,
    conv,
    dense,
    einsum,
    elementwise,
    embed,
    frames,
    functions,
    join,
    layout,
    loops,
    normalize,
    pad,
    pick,
    pool,
    recurrent,
    reduce,
    upsample,
)
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.context import Lift, Lifted

Lifter = Callable[[Lift, Node, Operands], list[Lifted]]

LIFTERS: dict[str, Lifter] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent.recurrent),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), elementwise.binary),
    **dict.fromkeys(("Max", "Min", "Sum", "Mean"), elementwise.variadic),
    **dict.fromkeys(functions.UNARY, partial(frames.of_every_frame, functions.activate)),
    "Gelu": functions.gelu,
    "Mish": functions.mish,
    "Clip": functions.clip,
    "Pow": functions.power,
    "PRelu": functions.prelu,
    "Where": functions.where,
    **dict.fromkeys(("Identity", "Cast", "Dropout"), layout.identity),
    **dict.fromkeys(("Reshape", "Flatten", "FlattenAxes"), layout.reshape),
    **dict.fromkeys(reduce.OPERATORS, reduce.reduce),
    **dict.fromkeys(("Softmax", "LogSoftmax"), along_axis.softmax),
    "ArgMax": along_axis.argmax,
    "TopK": along_axis.top_k,
    "Conv": conv.conv,
    "ConvTranspose": conv.conv_transpose,
    **dict.fromkeys(("Resize", "Upsample"), upsample.resize),
    "Pad": pad.pad,
    **dict.fromkeys(("AveragePool", "MaxPool"), pool.pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), pool.global_pool),
    "BatchNormalization": partial(frames.of_every_frame, batch_norm.batch_normalization),
    "LayerNormalization": normalize.layer_normalization,
    "CausalMask": attention_mask.causal,
    "OneHot": embed.one_hot,
    "Einsum": einsum.einsum,
    "MatMul": dense.matmul,
    "Gemm": dense.gemm,
    "Transpose": layout.transpose,
    "SwapAxes": layout.swap_axes,
    "Squeeze": layout.squeeze,
    "Unsqueeze": layout.unsqueeze,
    "Expand": layout.expand,
    "Gather": pick.gather,
    "Slice": pick.slice_,
    "Split": pick.split,
    "Concat": join.concat,
    "Scan": loops.scan,
    "Loop": loops.loop,
}

ALLOWED = ", ".join(
    sorted(
        [
            *(LIFTERS.keys() - {"FlattenAxes", "SwapAxes", "CausalMask"}),
            "Shape",
            "Constant",
            "ConstantOfShape",
        ]
    )
)
