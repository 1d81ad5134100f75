"""Cells by their equations: what replaces a state, written as a polynomial, is an LSTM, a GRU or an RNN.

    RNN   h' = f(p)
    LSTM  c' = f*c + i*g,  h' = o*tanh(c')
    GRU   h' = n - z*n + z*h  or  n*z + h - z*h  (then 1 - z takes z's place)

The names, the order of gates and how the graph is cut into operations do not matter.
"""

from dataclasses import dataclass, replace

import numpy as np

from stepcell.importers.reroll.algebra import Algebra, Atom, Linear, Polynomial, TooComplex, Vector, combined
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Activate, Binary, Gate

_GATES = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "identity": "Affine",
    "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu",
    "scaled_tanh": "ScaledTanh",
    "hard_sigmoid": "HardSigmoid",
    "elu": "Elu",
    "softsign": "Softsign",
    "softplus": "Softplus",
}


@dataclass(frozen=True, eq=False)
class Half:
    """One gate before its activation: matrices over x (by value) and over h, and a bias."""

    over_x: Linear
    over_h: FloatArray


@dataclass(frozen=True, eq=False)
class Cell:
    """What was recognised: gates in ONNX order, their activations, the state c of an LSTM.

    `inner_bias` is the bias inside a GRU's reset product (linear_before_reset); None without it.
    """

    kind: str
    h: Vector
    c: Vector | None
    halves: tuple[Half, ...]
    gates: tuple[Gate, ...]
    c_next: Vector | None = None
    inner_bias: FloatArray | None = None


class Matcher:
    """Recognises the cell that computes a vector from given states."""

    def __init__(self, algebra: Algebra) -> None:
        self.algebra = algebra

    def cell(self, after: Vector, h: Vector, cells: dict[Atom, Vector]) -> Cell | None:
        """The cell of which `after` is h' and `h` the state; `cells` gives what replaces each other state."""
        try:
            found = self.algebra.polynomial(after.value, after.at)
            return self._rnn(found, h) or self._lstm(found, h, cells) or self._gru(found, h)
        except TooComplex:
            return None

    def _activation(self, atom: Atom) -> tuple[Gate, Vector] | None:
        """The gate function of an atom, and what it is applied to."""
        vector = self.algebra.vector(atom)
        op = self.algebra.trace.producer.get(vector.value)
        if not isinstance(op, Activate) or op.function not in _GATES:
            return None
        return Gate(_GATES[op.function], op.alpha, op.beta), Vector(op.x, vector.at)

    def _half(self, p: Vector, h: Vector) -> Half | None:
        """A pre-activation as matrices over x and h; None if it does not read h element by element."""
        linear = self.algebra.linear(p.value, p.at)
        return _split(linear, h)

    def _rnn(self, found: Polynomial, h: Vector) -> Cell | None:
        atom = _single(found, 1)
        applied = self._activation(atom[0]) if atom else None
        half = self._half(applied[1], h) if applied else None
        if applied is None or half is None or not half.over_h.any():
            return None
        return Cell("RNN", h, None, (half,), (applied[0],))

    def _lstm(self, found: Polynomial, h: Vector, cells: dict[Atom, Vector]) -> Cell | None:
        pair = _single(found, 2)
        if pair is None:
            return None
        for o, t in (pair, pair[::-1]):
            output, outer = self._activation(o), self._activation(t)
            if output is None or outer is None:
                continue
            inner = self.algebra.settled(outer[1].value, outer[1].at)
            for c, c_next in cells.items():
                if inner is not None and inner.key == c_next.key:
                    made = self._lstm_gates(output, outer[0], h, self.algebra.vectors[c], c_next)
                    if made is not None:
                        return made
        return None

    def _lstm_gates(
        self, output: tuple[Gate, Vector], outer: Gate, h: Vector, c: Vector, c_next: Vector
    ) -> Cell | None:
        """i, o, f and g from c' = f*c + i*g; or, i being 1 - f, c' = f*c + g - f*g."""
        found = self.algebra.polynomial(c_next.value, c_next.at)
        keeping = [p for p in found if len(p) == 2 and c.key in p]
        if len(keeping) != 1 or not (found[keeping[0]] == 1.0).all():
            return None
        (f,) = [atom for atom in keeping[0] if atom != c.key] or [c.key]
        forget = self._activation(f)
        rest = {p: factor for p, factor in found.items() if p != keeping[0]}
        if forget is None:
            return None
        coupled = self._coupled(rest, f)
        if coupled is not None:
            candidate, half = self._activation(coupled), self._half(forget[1], h)
            if candidate is None or half is None or forget[0] != Gate("Sigmoid"):
                return None
            entry = (forget[0], _negated(half))
        else:
            pair = _single(rest, 2)
            applied = [self._activation(atom) for atom in pair or ()]
            sides = [side for side in applied if side is not None]
            if len(sides) != 2:
                return None
            first, second = sides if sides[0][0] == forget[0] else sides[::-1]
            half = self._half(first[1], h)
            if half is None:
                return None
            entry, candidate = (first[0], half), second
        if not entry[0] == output[0] == forget[0]:
            return None
        others = [self._half(v, h) for v in (output[1], forget[1], candidate[1])]
        halves = [entry[1], *(half for half in others if half is not None)]
        if len(halves) != 4 or not any(half.over_h.any() for half in halves):
            return None
        return Cell("LSTM", h, c, tuple(halves), (forget[0], candidate[0], outer), c_next)

    @staticmethod
    def _coupled(rest: Polynomial, f: Atom) -> Atom | None:
        """g, where the rest of c' is g - f*g."""
        single = [p[0] for p in rest if len(p) == 1]
        if len(rest) != 2 or len(single) != 1:
            return None
        product = tuple(sorted((f, single[0])))
        fits = product in rest and (rest[product] == -1.0).all() and (rest[single[0],] == 1.0).all()
        return single[0] if fits else None

    def _gru(self, found: Polynomial, h: Vector) -> Cell | None:
        gated = [p for p in found if len(p) == 2 and h.key in p]
        if len(found) != 3 or len(gated) != 1:
            return None
        (z,) = [atom for atom in gated[0] if atom != h.key] or [h.key]
        update = self._activation(z)
        alone = [p[0] for p in found if len(p) == 1]
        products = [p for p in found if len(p) == 2 and p != gated[0]]
        if update is None or len(alone) != 1 or len(products) != 1:
            return None
        (n,) = [atom for atom in products[0] if atom != z] or [z]
        sign = 1.0 if alone[0] == n else -1.0
        wanted = {gated[0]: sign, products[0]: -sign, (n if sign > 0 else h.key,): 1.0}
        if any(p not in found or not (found[p] == factor).all() for p, factor in wanted.items()):
            return None
        candidate = self._activation(n)
        half = self._half(update[1], h)
        if candidate is None or half is None or (sign < 0 and update[0] != Gate("Sigmoid")):
            return None
        return self._gru_candidate(half if sign > 0 else _negated(half), update[0], candidate, h)

    def _gru_candidate(self, z: Half, gate: Gate, candidate: tuple[Gate, Vector], h: Vector) -> Cell | None:
        """The reset gate, inside the candidate: r times a matrix of h, or a matrix of r times h."""
        made = self._reset_after(candidate[1], h) or self._reset_before(candidate[1], h)
        if made is None:
            return None
        reset, n, inner_bias = made
        applied = self._activation(reset)
        r = self._half(applied[1], h) if applied else None
        if applied is None or r is None or applied[0] != gate:
            return None
        return Cell("GRU", h, None, (z, r, n), (gate, candidate[0]), inner_bias=inner_bias)

    def _reset_after(self, p: Vector, h: Vector) -> tuple[Atom, Half, FloatArray] | None:
        """n before its activation is a + r*(R h + b): (r, [a, R], b)."""
        found = self.algebra.polynomial(p.value, p.at)
        products = [q for q in found if len(q) == 2]
        if len(products) != 1:
            return None
        for r, m in (products[0], products[0][::-1]):
            inner = self._linear(m)
            over_h = _split(inner, h) if inner is not None else None
            if self._activation(r) is None or over_h is None or over_h.over_x.terms:
                continue
            factor = found[products[0]]
            bias = factor * over_h.over_x.bias + found.get((r,), np.zeros(1))
            outer = Linear(np.asarray(found.get((), np.zeros(len(p.at))), np.float64))
            for q, weight in found.items():
                if q in ((), (r,), products[0]):
                    continue
                term = self._linear(q[0]) if len(q) == 1 else None
                if term is None:
                    return None
                scaled = Linear(
                    term.bias * weight, {k: weight[:, None] * m for k, m in term.terms.items()}, term.touched
                )
                outer = combined(outer, scaled, 1.0)
            if h.value in outer.terms and _split(outer, h) is None:
                return None
            a = _split(outer, h)
            if a is None or a.over_h.any():
                return None
            return r, Half(a.over_x, factor[:, None] * over_h.over_h), np.broadcast_to(bias, len(p.at)).copy()
        return None

    def _linear(self, atom: Atom) -> Linear | None:
        vector = self.algebra.vector(atom)
        return self.algebra.linear(vector.value, vector.at)

    def _reset_before(self, p: Vector, h: Vector) -> tuple[Atom, Half, None] | None:
        """n before its activation is a + R (r*h): (r, [a, R])."""
        linear = self.algebra.linear(p.value, p.at)
        for name, matrix in linear.terms.items():
            op = self.algebra.trace.producer.get(name)
            if not isinstance(op, Binary) or op.operator != "mul" or matrix.shape[1] != len(h.at):
                continue
            found = self.algebra.polynomial(name, np.arange(matrix.shape[1]))
            pair = _single(found, 2)
            if pair is None or h.key not in pair:
                continue
            (r,) = [atom for atom in pair if atom != h.key] or [h.key]
            terms = {k: m for k, m in linear.terms.items() if k != name}
            rest = _split(replace(linear, terms=terms), h)
            if rest is not None and not rest.over_h.any():
                return r, Half(rest.over_x, matrix), None
        return None


def _single(found: Polynomial, factors: int) -> tuple[Atom, ...] | None:
    """The atoms of a polynomial that is one product of so many, its coefficient one."""
    if len(found) != 1:
        return None
    ((product, factor),) = found.items()
    return product if len(product) == factors and (factor == 1.0).all() else None


def _split(linear: Linear, h: Vector) -> Half | None:
    """The part over h apart from the rest; None if it reads other elements of h's value, too."""
    over = linear.terms.get(h.value)
    rest = {name: m for name, m in linear.terms.items() if name != h.value}
    x = Linear(linear.bias, rest, {n: t for n, t in linear.touched.items() if n in rest})
    if over is None:
        return Half(x, np.zeros((len(linear.bias), len(h.at))))
    outside = np.ones(over.shape[1], np.bool_)
    outside[h.at] = False
    if over[:, outside].any():
        return None
    return Half(x, over[:, h.at])


def _negated(half: Half) -> Half:
    """The gate whose sigmoid is one minus this one's."""
    x = half.over_x
    return Half(Linear(-x.bias, {n: -m for n, m in x.terms.items()}, x.touched), -half.over_h)
