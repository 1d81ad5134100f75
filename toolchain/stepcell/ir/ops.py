"""The operations of a step graph: one frozen dataclass each, its equation in the docstring.

An operation reads values by name and defines new ones (`Value`: name, shape, type). Parameters are
named, too, and lie in `Model.weights`, so that functions can share them. Shapes are per step: no
batch axis, no time axis. Gate order and bias layout are ONNX's (operators LSTM, GRU, RNN).
"""

from dataclasses import dataclass
from typing import Literal

from stepcell.ir.operators import FunctionName, Operator, ReduceKind

Dtype = Literal["float", "token"]


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
    recurrent_input: str | None = None
    """What R multiplies in place of h: a Dense of h, so that R and its weights are factors of a matrix."""


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
    recurrent_input: str | None = None
    """As an Lstm's; only with linear_before_reset, for otherwise the n rows read r*h."""


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
    recurrent_input: str | None = None
    """As an Lstm's."""


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
