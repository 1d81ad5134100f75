"""Values as equations: sums of products of atoms, element by element, and matrices over them.

A `Vector` is some elements of a value. An atom is a vector that arithmetic does not take apart: a state,
an input, an activation, a matrix product. `Algebra.polynomial` writes a vector as {product of atoms:
coefficients}, `Algebra.linear` as {value: matrix} plus a bias; two graphs that compute the same by other
operations get the same polynomial.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.reroll.trace import ZERO, Indices, Trace
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Activate, Binary, Constant, Dense

_LARGEST = 16
"""Terms of a polynomial; a cell has three."""
_DEEPEST = 24
_LARGEST_MATRIX = 2**24
"""Elements; more than any gate of a microcontroller's network has."""


class TooComplex(Exception):
    """Not an equation of a cell."""


@dataclass(frozen=True, eq=False)
class Vector:
    """Elements of one value, in order."""

    value: str
    at: Indices

    @property
    def key(self) -> "Atom":
        """Equal for equal vectors."""
        return self.value, self.at.tobytes()


Atom = tuple[str, bytes]
Product = tuple[Atom, ...]
Polynomial = dict[Product, FloatArray]


@dataclass(frozen=True, eq=False)
class Linear:
    """Sum over values of matrix @ value, plus bias; `touched` tells which elements of a value take part."""

    bias: FloatArray
    terms: dict[str, FloatArray] = field(default_factory=dict)
    touched: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


class Algebra:
    """Equations of the values of one stage."""

    def __init__(self, trace: Trace, weights: Mapping[str, FloatArray], shared_is_atom: bool = False) -> None:
        self.trace = trace
        self.weights = weights
        self.shared_is_atom = shared_is_atom
        """whether what several operations read is an atom: states between unrolled steps are such values"""
        self.vectors: dict[Atom, Vector] = {}

    def vector(self, atom: Atom) -> Vector:
        """The elements that an atom stands for."""
        return self.vectors[atom]

    def settled(self, value: str, at: Indices) -> Vector | None:
        """The elements where they come from, if that is one value; None if it is several."""
        names, indices = self.trace.origins(value)
        found = set(names[at])
        if len(found) != 1 or ZERO in found:
            return None
        return Vector(found.pop(), indices[at])

    def polynomial(self, value: str, at: Indices, depth: int = 0) -> Polynomial:
        """The elements as a sum of products of atoms. Raises TooComplex."""
        if depth > _DEEPEST:
            raise TooComplex
        found = self.settled(value, at)
        if found is None:
            raise TooComplex
        op = self.trace.producer.get(found.value)
        shared = len(self.trace.readers.get(found.value, ())) > 1 and not isinstance(op, Constant)
        if depth and self.shared_is_atom and shared:
            op = None
        match op:
            case Binary(operator="add" | "sub" | "mul"):
                a, b = (self._operand(op, name, found.at, depth) for name in (op.a, op.b))
                if op.operator == "mul":
                    return _product(a, b)
                return _sum(a, b, 1.0 if op.operator == "add" else -1.0)
            case Constant():
                return {(): self.weights[op.weights].ravel()[found.at]}
            case Activate(function="identity" | "neg" | "affine"):
                scale, shift = affine(op)
                inner = self.polynomial(op.x, found.at, depth + 1)
                return _sum({k: scale * c for k, c in inner.items()}, {(): np.full(len(at), shift)}, 1.0)
            case Activate(function="square"):
                inner = self.polynomial(op.x, found.at, depth + 1)
                return _product(inner, inner)
            case _:
                self.vectors[found.key] = found
                return {(found.key,): np.ones(len(at))}

    def _operand(self, op: Binary, name: str, at: Indices, depth: int) -> Polynomial:
        return self.polynomial(name, self.operand_at(op, name, at), depth + 1)

    def operand_at(self, op: Binary, name: str, at: Indices) -> Indices:
        """The elements of an operand that meet these elements of the result."""
        shape = self.trace.values[name].shape
        size = int(np.prod(shape, dtype=np.int64))
        whole = np.broadcast_to(np.arange(size).reshape(shape), op.y.shape)
        return np.asarray(whole.ravel()[at], np.intp)

    def linear(self, value: str, at: Indices, depth: int = 0) -> Linear:
        """The elements as matrices over values, through one Dense. Raises TooComplex."""
        if depth > _DEEPEST:
            raise TooComplex
        found = self.settled(value, at)
        if found is None:
            return self._gathered(value, at)
        op = self.trace.producer.get(found.value)
        match op:
            case Binary(operator="add" | "sub"):
                a, b = (self.linear(n, self.operand_at(op, n, found.at), depth + 1) for n in (op.a, op.b))
                return combined(a, b, 1.0 if op.operator == "add" else -1.0)
            case Constant():
                return Linear(self.weights[op.weights].ravel()[found.at])
            case Activate(function="identity" | "neg" | "affine"):
                scale, shift = affine(op)
                inner = self.linear(op.x, found.at, depth + 1)
                return combined(Linear(np.full(len(at), shift)), inner, scale)
            case Dense():
                return self._dense(op, found.at)
            case _:
                return self._gathered(value, at)

    def _dense(self, op: Dense, at: Indices) -> Linear:
        matrix = self.weights[op.weights]
        rows, cols = matrix.shape
        vectors = np.unique(at // rows)
        if len(vectors) != 1:
            raise TooComplex
        chosen = matrix[at % rows]
        source = self._gathered(op.x, vectors[0] * cols + np.arange(cols))
        terms = {name: chosen @ picked for name, picked in source.terms.items()}
        return Linear(self.weights[op.bias][at % rows] + chosen @ source.bias, terms, source.touched)

    def _gathered(self, value: str, at: Indices) -> Linear:
        """The elements where they come from, as matrices of zeros and ones; constants are the bias."""
        names, indices = self.trace.origins(value)
        names, indices = names[at], indices[at]
        made = Linear(np.zeros(len(at)))
        for name in dict.fromkeys(names):
            here = np.flatnonzero(names == name)
            op = self.trace.producer.get(name)
            if name == ZERO:
                continue
            if isinstance(op, Constant):
                made.bias[here] = self.weights[op.weights].ravel()[indices[here]]
                continue
            size = self.trace.values[name].size
            if len(at) * size > _LARGEST_MATRIX:
                raise TooComplex
            matrix = np.zeros((len(at), size))
            matrix[here, indices[here]] = 1.0
            made.terms[name] = matrix
            made.touched[name] = np.asarray(matrix.any(axis=0))
        return made


def affine(op: Activate) -> tuple[float, float]:
    """(scale, shift) of identity, neg and affine."""
    if op.function == "affine":
        return (1.0 if op.alpha is None else op.alpha), (0.0 if op.beta is None else op.beta)
    return (-1.0 if op.function == "neg" else 1.0), 0.0


def combined(a: Linear, b: Linear, sign: float) -> Linear:
    """a + sign * b."""
    terms = {
        name: a.terms.get(name, 0.0) + sign * b.terms.get(name, np.zeros(1))
        for name in dict.fromkeys((*a.terms, *b.terms))
    }
    touched: dict[str, NDArray[np.bool_]] = {}
    for name, flags in (*a.touched.items(), *b.touched.items()):
        touched[name] = flags | touched.get(name, np.zeros_like(flags))
    return Linear(a.bias + sign * b.bias, {n: np.asarray(m) for n, m in terms.items()}, touched)


def _sum(a: Polynomial, b: Polynomial, sign: float) -> Polynomial:
    made = dict(a)
    for product, factor in b.items():
        made[product] = made[product] + sign * factor if product in made else sign * factor
    return _bounded(made)


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    made: Polynomial = {}
    for p, x in a.items():
        for q, y in b.items():
            product = tuple(sorted((*p, *q)))
            made[product] = made[product] + x * y if product in made else x * y
    return _bounded(made)


def _bounded(terms: Polynomial) -> Polynomial:
    kept = {product: factor for product, factor in terms.items() if np.any(factor != 0.0)}
    if len(kept) > _LARGEST:
        raise TooComplex
    return kept
