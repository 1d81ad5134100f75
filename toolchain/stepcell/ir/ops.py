"""The operations of a step graph: one frozen dataclass each, its equation in the docstring.

An operation reads values by name and defines new ones (`Value`: name, shape, type). Parameters are
named, too, and lie in `Model.weights`, so that functions can share them. Shapes are per step: no
batch axis, no time axis. Gate order and bias layout are ONNX's (operators LSTM, GRU, RNN).
"""

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["float", "token"]
Operator = Literal["add", "sub", "mul", "div", "max", "min"]
ReduceKind = Literal["sum", "mean", "max", "min"]
FunctionName = Literal[
    "identity",
    "relu",
    "sigmoid",
    "tanh",
    "softmax",
    "log_softmax",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "softplus",
    "softsign",
    "hard_sigmoid",
    "hard_swish",
    "thresholded_relu",
    "scaled_tanh",
    "affine",
    "silu",
    "gelu",
    "gelu_tanh",
    "erf",
    "exp",
    "log",
    "sqrt",
    "abs",
    "neg",
    "square",
    "power",
    "reciprocal",
    "clip",
]
"""Named as ONNX's operators; `alpha` and `beta` are theirs (clip: least, greatest; power: the exponent)."""


@dataclass(frozen=True)
class Quant:
    """How an already quantized source stores a value: real = scale * (stored - zero_point)."""

    scale: float
    zero_point: int
    bits: int


@dataclass(frozen=True)
class Value:
    """What flows along an edge of the graph; `token` is an integer without a scale."""

    name: str
    shape: tuple[int, ...]
    dtype: Dtype = "float"
    quant: Quant | None = None

    @property
    def size(self) -> int:
        """Number of elements in one step."""
        product = 1
        for axis in self.shape:
            product *= axis
        return product


@dataclass(frozen=True)
class Gate:
    """A gate's activation as ONNX names it, with its parameters where it has any."""

    function: str
    alpha: float | None = None
    beta: float | None = None


SIGMOID = Gate("Sigmoid")
TANH = Gate("Tanh")
RELU = Gate("Relu")


@dataclass(frozen=True)
class Lstm:
    """i, o, f, c~ = W x + Wb + R h + Rb;  c' = f*c + i*c~;  h' = o*tanh(c').  W [4H, I], rows i o f c."""

    x: str
    h: str
    c: str
    h_next: Value
    c_next: Value
    input_weights: str
    recurrent_weights: str
    input_bias: str
    recurrent_bias: str
    gates: tuple[Gate, Gate, Gate] = (SIGMOID, TANH, TANH)
    peepholes: str | None = None
    projection: str | None = None
    clip: float | None = None
    input_forget: bool = False
    cell_clip: float | None = None
    """c' lies within this, as in TensorFlow Lite; ONNX's LSTM has no such thing."""


@dataclass(frozen=True)
class Gru:
    """z, r = s(W x + Wb + R h + Rb);  h' = n + z*(h - n).  W [3H, I], rows z r n.

    linear_before_reset: n = tanh(W x + Wb + r*(R h + Rb)), as PyTorch and Keras 3 train it;
    otherwise            n = tanh(W x + Wb + R (r*h) + Rb), the ONNX default.
    """

    x: str
    h: str
    h_next: Value
    input_weights: str
    recurrent_weights: str
    input_bias: str
    recurrent_bias: str
    linear_before_reset: bool
    gates: tuple[Gate, Gate] = (SIGMOID, TANH)
    clip: float | None = None


@dataclass(frozen=True)
class Rnn:
    """h' = f(W x + Wb + R h + Rb), f = tanh or relu.  W [H, I]."""

    x: str
    h: str
    h_next: Value
    input_weights: str
    recurrent_weights: str
    input_bias: str
    recurrent_bias: str
    gate: Gate = TANH
    clip: float | None = None


@dataclass(frozen=True)
class Dense:
    """y = W x + b.  W [O, I], b [O], x [I] or [..., I]."""

    x: str
    y: Value
    weights: str
    bias: str


@dataclass(frozen=True)
class Activate:
    """y = f(x), element by element; softmax and log_softmax run over the last axis."""

    x: str
    y: Value
    function: FunctionName
    alpha: float | None = None
    beta: float | None = None


@dataclass(frozen=True)
class Binary:
    """y = a (operator) b, element by element; shapes broadcast as in numpy."""

    a: str
    b: str
    y: Value
    operator: Operator


@dataclass(frozen=True)
class Constant:
    """y = a parameter, so that arithmetic with constants needs no special case."""

    y: Value
    weights: str


@dataclass(frozen=True)
class Take:
    """y.flat[i] = x.flat[indices[i]]: every reshape, transpose, slice, gather and flatten is this.

    An index of -1 gives zero: padding is this, too.
    """

    x: str
    y: Value
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Concat:
    """y.flat = the flat inputs, one after the other (a Take orders them, where the axis was an inner one)."""

    xs: tuple[str, ...]
    y: Value


@dataclass(frozen=True)
class Embed:
    """y = table[token].  table [vocabulary, width]."""

    token: str
    y: Value
    table: str


@dataclass(frozen=True)
class Count:
    """y = x + 1: how many steps a running mean has seen (a token of shape ())."""

    x: str
    y: Value


@dataclass(frozen=True)
class Mean:
    """y = total / max(count, 1): the finish of a mean over time."""

    total: str
    count: str
    y: Value


@dataclass(frozen=True)
class Reduce:
    """y = the sum, mean, maximum or minimum over the last axis of x [..., n]; y [...]."""

    x: str
    y: Value
    kind: ReduceKind


@dataclass(frozen=True)
class Normalize:
    """y = (x - mean) / sqrt(variance + epsilon) * gain + bias over the last axis: LayerNormalization."""

    x: str
    y: Value
    gain: str
    bias: str
    epsilon: float


@dataclass(frozen=True)
class ArgMax:
    """y = the index of the largest of x [..., n] over n, the lowest of equal ones; y [...] token."""

    x: str
    y: Value


@dataclass(frozen=True)
class Conv:
    """y[p, o] = b[o] + sum of W[o, k, c] x[p*stride + k*dilation - pad, c] over inner axes, zeros outside.

    x [*spatial, C], channels last, one or two spatial axes; W [O, *kernel, C/groups]; y [*positions, O].
    A convolution over time is this over a window of frames, the earlier ones kept in a state.
    """

    x: str
    y: Value
    weights: str
    bias: str
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    """(before, after) of each spatial axis."""
    groups: int = 1


@dataclass(frozen=True)
class Append:
    """y = memory [S, ...] with row `count` replaced by x; from count = S on, y = memory."""

    memory: str
    count: str
    x: str
    y: Value


@dataclass(frozen=True)
class Attend:
    """y = sum of softmax(scale * keys . query) values over the first `count` of S rows of keys, values."""

    query: str
    keys: str
    values: str
    count: str
    y: Value
    scale: float


Recurrent = Lstm | Gru | Rnn
Op = (
    Lstm
    | Gru
    | Rnn
    | Dense
    | Conv
    | Activate
    | Binary
    | Reduce
    | Normalize
    | ArgMax
    | Constant
    | Take
    | Concat
    | Embed
    | Count
    | Mean
    | Append
    | Attend
)


def reads(op: Op) -> tuple[str, ...]:  # noqa: C901  # one short case an operation
    """Names of the values and states that an operation reads."""
    match op:
        case Lstm():
            return (op.x, op.h, op.c)
        case Gru() | Rnn():
            return (op.x, op.h)
        case Dense() | Conv() | Activate() | Reduce() | Normalize() | ArgMax() | Take() | Count():
            return (op.x,)
        case Binary():
            return (op.a, op.b)
        case Concat():
            return op.xs
        case Embed():
            return (op.token,)
        case Mean():
            return (op.total, op.count)
        case Append():
            return (op.memory, op.count, op.x)
        case Attend():
            return (op.query, op.keys, op.values, op.count)
        case Constant():
            return ()


def writes(op: Op) -> tuple[Value, ...]:
    """The values that an operation defines."""
    match op:
        case Lstm():
            return (op.h_next, op.c_next)
        case Gru() | Rnn():
            return (op.h_next,)
        case _:
            return (op.y,)


def is_plain(op: Recurrent) -> bool:
    """Whether a recurrent layer has its usual functions, and no peepholes, projection or limits."""
    if op.clip is not None:
        return False
    match op:
        case Lstm():
            special = op.peepholes or op.projection or op.input_forget or op.cell_clip is not None
            return op.gates == (SIGMOID, TANH, TANH) and not special
        case Gru():
            return op.gates == (SIGMOID, TANH)
        case Rnn():
            return op.gate in (TANH, RELU)


def matrices(op: Op) -> tuple[str, ...]:
    """Names of the weight matrices that pruning and quantization work on."""
    match op:
        case Lstm() | Gru() | Rnn():
            return (op.input_weights, op.recurrent_weights)
        case Dense() | Conv():
            return (op.weights,)
        case _:
            return ()


def parameters(op: Op) -> tuple[str, ...]:
    """Names of every parameter that an operation uses."""
    match op:
        case Lstm():
            optional = (op.peepholes, op.projection)
            return (*matrices(op), op.input_bias, op.recurrent_bias, *(p for p in optional if p))
        case Gru() | Rnn():
            return (*matrices(op), op.input_bias, op.recurrent_bias)
        case Dense() | Conv():
            return (op.weights, op.bias)
        case Normalize():
            return (op.gain, op.bias)
        case Constant():
            return (op.weights,)
        case Embed():
            return (op.table,)
        case _:
            return ()


def all_matrix_inputs(name: str, ops: tuple[Op, ...]) -> bool:
    """Do only matrices read this value, directly or through Take?"""
    for op in ops:
        if name not in reads(op):
            continue
        if isinstance(op, Take):
            if not all_matrix_inputs(op.y.name, ops):
                return False
        elif not matrices(op):
            return False
    return True
