"""Which function lifts which operator."""

from collections.abc import Callable

from stepcell.importers.graph import Node
from stepcell.importers.lift import dense, elementwise, join, layout, pick, recurrent, reduce
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.context import Lift, Lifted

Lifter = Callable[[Lift, Node, Operands], list[Lifted]]

LIFTERS: dict[str, Lifter] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent.recurrent),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max"), elementwise.binary),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh"), elementwise.activate),
    **dict.fromkeys(("Identity", "Cast", "Dropout"), layout.identity),
    **dict.fromkeys(("Reshape", "Flatten", "FlattenAxes"), layout.reshape),
    **dict.fromkeys(("ReduceMean", "ReduceMax"), reduce.reduce),
    "Softmax": elementwise.softmax,
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
}

ALLOWED = ", ".join(
    sorted([*(LIFTERS.keys() - {"FlattenAxes", "SwapAxes"}), "Shape", "Constant", "ConstantOfShape"])
)
