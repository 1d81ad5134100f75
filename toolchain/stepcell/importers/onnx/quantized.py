"""Quantized files as the float networks that they stand for: weights dequantized, activations left in float.

Weights become scale * (q - zero_point) exactly. What the file does to activations at run time (a scale for
every batch, or fixed ones) is not imported: our integers have scales of their own. So such an import agrees
with its source to a stated tolerance only, and `to_float` says whether that is the case.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stepcell.importers.graph import Array, Graph, Node, Unsupported, reads_of

TOLERANCE = 0.1
"""Largest difference to a source that quantizes activations to 8 bits, relative where it exceeds one."""

_MICROSOFT = "com.microsoft."
_LSTM = f"{_MICROSOFT}DynamicQuantizeLSTM"
_WITH_SCALES = (f"{_MICROSOFT}DynamicQuantizeMatMul", f"{_MICROSOFT}MatMulIntegerToFloat")


@dataclass(eq=False)
class _Rewriting:
    graph: Graph
    known: dict[str, Array]
    """constants, and what Constant nodes hold"""
    quantizers: dict[str, Node] = field(default_factory=dict)
    """QuantizeLinear of data, by its output"""
    nodes: list[Node] = field(default_factory=list)
    made: dict[str, Array] = field(default_factory=dict)
    rounds: bool = False

    def constant(self, name: str, array: Array) -> str:
        self.made[name] = self.known[name] = np.asarray(array)
        return name

    def array(self, node: Node, k: int, what: str) -> Array:
        """A constant input of the node."""
        name = node.inputs[k] if k < len(node.inputs) else ""
        if name not in self.known:
            raise Unsupported(f"has {what} that are no constants", "store them as initializers.").at(
                self.graph.file, node
            )
        return self.known[name]

    def optional(self, node: Node, k: int) -> Array | None:
        return self.known.get(node.inputs[k]) if k < len(node.inputs) and node.inputs[k] else None


def to_float(graph: Graph) -> tuple[Graph, bool]:
    """The graph without quantizing operators around data, and whether that left rounding out."""
    state = _Rewriting(graph, dict(graph.constants))
    for node in graph.nodes:
        if node.op == "Constant" and isinstance(node.attributes.get("value"), np.ndarray):
            state.known[node.outputs[0]] = node.attributes["value"]
    for node in graph.nodes:
        state.nodes += _rewritten(state, node)
    if not state.made and not state.rounds:
        return graph, False
    read = {name for node in state.nodes for name in reads_of(node)} | set(graph.outputs)
    constants = {n: a for n, a in {**graph.constants, **state.made}.items() if n in read}
    return replace(graph, nodes=tuple(state.nodes), constants=constants), state.rounds


def _rewritten(state: _Rewriting, node: Node) -> Iterator[Node]:
    match node.op:
        case "DynamicQuantizeLinear":
            state.rounds = True
            yield Node("Identity", node.name, node.inputs[:1], node.outputs[:1])
            state.constant(node.outputs[1], np.ones((), np.float32))
            state.constant(node.outputs[2], np.zeros((), np.float32))
        case "MatMulInteger":
            yield _matmul(state, node, np.ones((), np.float32))
        case "QuantizeLinear" if node.inputs[0] not in state.known:
            state.quantizers[node.outputs[0]] = node
            yield Node("Identity", node.name, node.inputs[:1], node.outputs[:1])
        case "DequantizeLinear" if node.inputs[0] not in state.known:
            yield from _dequantize(state, node)
        case op if op == _LSTM:
            state.rounds = True
            yield _lstm(state, node)
        case op if op in _WITH_SCALES:
            yield from _scaled_matmul(state, node)
        case _:
            _refuse_quantized(state, node)
            yield node


def _refuse_quantized(state: _Rewriting, node: Node) -> None:
    """What reads the integers of a QuantizeLinear has to be a DequantizeLinear, or move them only."""
    read = [name for name in node.inputs if name in state.quantizers]
    if read and node.op not in (
        "Transpose",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Slice",
        "Gather",
    ):
        raise Unsupported(
            "computes with quantized activations",
            "export the file in QDQ format, or before it was quantized.",
        ).at(state.graph.file, node)
    for name in read:
        state.quantizers |= dict.fromkeys(node.outputs, state.quantizers[name])


def _dequantize(state: _Rewriting, node: Node) -> Iterator[Node]:
    scale, zero = state.array(node, 1, "a scale"), state.optional(node, 2)
    if node.inputs[0] in state.quantizers:
        before = state.quantizers[node.inputs[0]]
        other = state.array(before, 1, "a scale"), state.optional(before, 2)
        if not np.array_equal(scale, other[0]) or not np.array_equal(_or_zero(zero), _or_zero(other[1])):
            raise Unsupported(
                "has another scale than the QuantizeLinear before it",
                "export the file before it was quantized.",
            ).at(state.graph.file, node)
        state.rounds = True
        yield Node("Identity", node.name, node.inputs[:1], node.outputs)
        return
    if scale.size != 1:
        raise Unsupported("dequantizes data by several scales", "use one scale a tensor.").at(
            state.graph.file, node
        )
    base = node.outputs[0]
    shift = state.constant(f"{base}/zero_point", _or_zero(zero).astype(np.float32))
    factor = state.constant(f"{base}/scale", scale.astype(np.float32))
    yield Node("Sub", node.name, (node.inputs[0], shift), (f"{base}/shifted",))
    yield Node("Mul", node.name, (f"{base}/shifted", factor), node.outputs)


def _or_zero(zero: Array | None) -> Array:
    return np.zeros((), np.float32) if zero is None else zero.astype(np.float32)


def real(stored: Array, scale: Array, zero: Array | None, axis: int) -> Array:
    """scale * (stored - zero_point), one scale for all or one an index of `axis`; float64."""

    def aligned(parameter: Array) -> Array:
        if parameter.size == 1:
            return parameter.astype(np.float64).reshape(())
        shape = [1] * stored.ndim
        shape[axis] = parameter.size
        return parameter.astype(np.float64).reshape(shape)

    shift = np.zeros(()) if zero is None else aligned(zero)
    return (stored.astype(np.float64) - shift) * aligned(scale)


def _matmul(state: _Rewriting, node: Node, scale: Array) -> Node:
    """MatMulInteger: data that is real by now (zero point 0) times dequantized weights."""
    weights = real(state.array(node, 1, "weights"), scale, state.optional(node, 3), -1)
    name = state.constant(f"{node.outputs[0]}/weights", weights)
    return Node("MatMul", node.name, (node.inputs[0], name), node.outputs)


def _scaled_matmul(state: _Rewriting, node: Node) -> Iterator[Node]:
    """DynamicQuantizeMatMul(A, B, scale, zero, bias); MatMulIntegerToFloat(A, B, sa, sb, za, zb, bias)."""
    state.rounds = True
    inner = node.op.endswith("ToFloat")
    if inner and not (state.array(node, 2, "scales") == 1.0).all():
        raise Unsupported(
            "computes with quantized activations",
            "export the file in QDQ format, or before it was quantized.",
        ).at(state.graph.file, node)
    scale, zero = (3, 5) if inner else (2, 3)
    weights = real(
        state.array(node, 1, "weights"), state.array(node, scale, "scales"), state.optional(node, zero), -1
    )
    base = node.outputs[0]
    name = state.constant(f"{base}/weights", weights)
    bias = state.optional(node, 6 if inner else 4)
    if bias is None:
        yield Node("MatMul", node.name, (node.inputs[0], name), node.outputs)
        return
    yield Node("MatMul", node.name, (node.inputs[0], name), (f"{base}/product",))
    yield Node("Add", node.name, (f"{base}/product", state.constant(f"{base}/bias", bias)), node.outputs)


def _lstm(state: _Rewriting, node: Node) -> Node:
    """DynamicQuantizeLSTM: weights [directions, inputs, 4H], one scale a direction or a column."""
    inputs = [*node.inputs[:8], *[""] * (8 - len(node.inputs[:8]))]
    for k, scale in ((1, 8), (2, 10)):
        stored, scales, zeros = (
            state.array(node, k, "weights"),
            state.array(node, scale, "scales"),
            state.array(node, scale + 1, "zero points"),
        )
        columns = (len(stored), 1, -1)
        weights = (stored.astype(np.float64) - zeros.astype(np.float64).reshape(columns)) * scales.astype(
            np.float64
        ).reshape(columns)
        inputs[k] = state.constant(f"{node.outputs[0]}/{'WR'[k - 1]}", weights.transpose(0, 2, 1))
    while not inputs[-1]:
        inputs.pop()
    attributes: Mapping[str, object] = node.attributes
    return Node("LSTM", node.name, tuple(inputs), node.outputs, attributes)
