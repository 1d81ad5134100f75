"""Functions of one operand, element by element: Relu to Pow, with their parameters."""

import math
from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import attention_mask
from stepcell.importers.lift.attention import Scores
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.context import Lift, Lifted, Tensor, known, materialise
from stepcell.importers.lift.elementwise import combined, numbers
from stepcell.ir.operators import FunctionName
from stepcell.ir.ops import Activate, Value

_PLAIN: dict[str, FunctionName] = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "HardSwish": "hard_swish",
    "Erf": "erf",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Abs": "abs",
    "Neg": "neg",
    "Reciprocal": "reciprocal",
    "Silu": "silu",
}
_PARAMETERS: dict[str, tuple[FunctionName, tuple[tuple[str, float], ...]]] = {
    "LeakyRelu": ("leaky_relu", (("alpha", 0.01),)),
    "Elu": ("elu", (("alpha", 1.0),)),
    "Selu": ("selu", (("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875))),
    "Celu": ("celu", (("alpha", 1.0),)),
    "HardSigmoid": ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))),
    "ThresholdedRelu": ("thresholded_relu", (("alpha", 1.0),)),
    "ScaledTanh": ("scaled_tanh", (("alpha", 1.0), ("beta", 1.0))),
    "Affine": ("affine", (("alpha", 1.0), ("beta", 0.0))),
}
"""(function, its attributes with their defaults), in the order alpha, beta."""

UNARY = (*_PLAIN, *_PARAMETERS)


def activate(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """A function of every element, in the value's own order."""
    if node.op in _PLAIN:
        return [function(lift, operands[0], _PLAIN[node.op])]
    name, parameters = _PARAMETERS[node.op]
    values = [float(node.attributes.get(key, default)) for key, default in parameters]
    return [function(lift, operands[0], name, *values)]


def function(
    lift: Lift,
    operand: Lifted | None,
    name: FunctionName,
    alpha: float | None = None,
    beta: float | None = None,
) -> Tensor:
    """f(x) of every element that the tensor holds: of the whole value where it holds all of it."""
    x = numbers(lift, operand)
    if len(np.unique(x.table)) < lift.values[x.value].size and name not in ("relu", "sigmoid", "tanh"):
        x = _picked(lift, x)
    made = lift.fresh(name)
    lift.emit(Activate(x.value, Value(made, lift.values[x.value].shape), name, alpha, beta), x.phase)
    return replace(x, value=made)


def _picked(lift: Lift, x: Tensor) -> Tensor:
    """The tensor's elements as a value of their own, in the order in which they lie in the other."""
    order, table = np.unique(x.table, return_inverse=True)
    shape = tuple(size for size in x.table.shape if size > 1) or (1,)
    if not np.array_equal(order, x.table.ravel()):
        shape = (len(order),)
    axes = ((len(order),),)
    picked = materialise(lift, replace(x, table=order, axes=axes), shape)
    return replace(x, value=picked, table=table.reshape(x.table.shape))


def gelu(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Gelu, exact or by tanh."""
    approximate = node.attributes.get("approximate", "none")
    text = approximate.decode() if isinstance(approximate, bytes) else str(approximate)
    return [function(lift, operands[0], "gelu_tanh" if text == "tanh" else "gelu")]


def mish(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """x * tanh(softplus(x))."""
    del node
    factor = function(lift, function(lift, operands[0], "softplus"), "tanh")
    return [combined(lift, "mul", operands[0], factor)]


def clip(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Clip between numbers: attributes before opset 11, inputs since."""
    least = _bound(node, operands, "min", 1, -math.inf)
    greatest = _bound(node, operands, "max", 2, math.inf)
    return [function(lift, operands[0], "clip", least, greatest)]


def _bound(node: Node, operands: Operands, name: str, index: int, absent: float) -> float:
    if name in node.attributes:
        return float(node.attributes[name])
    if index >= len(operands) or operands[index] is None:
        return absent
    return float(known(operands[index], "a bound").ravel()[0])


def power(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Pow with one constant exponent."""
    del node
    exponents = np.unique(known(operands[1], "an exponent").astype(np.float64))
    if exponents.size != 1:
        raise Unsupported(
            f"raises to {exponents.size} different powers; one exponent is allowed", "split the tensor."
        )
    exponent = float(exponents[0])
    special: dict[float, FunctionName] = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}
    if exponent == 1.0:
        return [numbers(lift, operands[0])]
    if exponent in special:
        return [function(lift, operands[0], special[exponent])]
    return [function(lift, operands[0], "power", exponent)]


def prelu(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """PRelu with a constant slope: a LeakyRelu, or relu(x) + slope * min(x, 0) where slopes differ."""
    del node
    slope = known(operands[1], "a slope")
    if slope.size == 1:
        return [function(lift, operands[0], "leaky_relu", float(slope.ravel()[0]))]
    below = combined(lift, "mul", function(lift, operands[0], "clip", -math.inf, 0.0), slope)
    return [combined(lift, "add", function(lift, operands[0], "relu"), below)]


def where(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Where with one constant condition: the operand that it chooses; of attention scores, a mask."""
    del node
    for x in operands[1:]:
        if isinstance(x, Scores):
            return [attention_mask.where(lift, x, operands)]
    if isinstance(operands[0], Tensor):
        raise Unsupported(
            "chooses by a condition that depends on the input",
            "use Max, Min, Clip or Relu, or multiply by a Sigmoid.",
        )
    condition = np.unique(known(operands[0], "a condition").astype(bool))
    if condition.size != 1:
        raise Unsupported("chooses element by element; one condition for all is allowed", "use Concat.")
    chosen = operands[1] if condition[0] else operands[2]
    if chosen is None:
        raise Unsupported("has no operand to choose", "check the file.")
    return [chosen]
