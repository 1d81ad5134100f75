"""`kronecker`: matrices as Kronecker products, W ~ A (x) B + S, S few blocks of what is left (doping).

(A (x) B) x = vec(A X B'), X the vector x in rows: two small Dense over several vectors, with Takes that
transpose. S is an ordinary pruned matrix, the doping (Thakker et al. 2020, "Compressing language models using
doped Kronecker products", arXiv 2001.08896).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stepcell.compress.pattern import Pattern
from stepcell.compress.prune import prune
from stepcell.compress.restructure.rewrite import (
    Graph,
    check_matrices,
    new_name,
    recurrent_matrices,
    rewritten,
    taken_apart,
)
from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices as matrices_of
from stepcell.ir.model import FloatArray, Model, all_ops, recurrent_ops
from stepcell.ir.ops import Binary, Constant, Dense, Op, Recurrent, Take, Value


def kronecker(
    model: Model,
    shape: tuple[int, int] | None = None,
    *,
    terms: int = 1,
    doping: float = 0.05,
    pattern: str | Pattern = "4x1",
    matrices: Sequence[str] | None = None,
) -> Model:
    """The model with matrices as the nearest sum of `terms` Kronecker products (Van Loan and Pitsianis 1993).

    shape: of A; rows and columns of the matrix are multiples of it. By default the one that takes the least
    flash, indices of the transposes included; of equals the one that errs least. doping: the share [0, 1) of
    the weights that S keeps, the blocks of `pattern` with the largest error. matrices: those of recurrent
    layers and Dense by name; by default the recurrent ones. Recurrent layers with one of them are taken apart
    into operations, which no kernel runs together: fewer bytes, but not fewer instructions.

    Raises StepcellError for numbers out of range, matrices that are unknown or pruned, shapes that do not
    divide one, layers over several vectors, and where A, B and S are not smaller than the matrix.
    """
    if terms < 1 or not 0.0 <= doping < 1.0:
        raise StepcellError(
            f"Kronecker: {terms} terms with doping {doping:g}.",
            "terms are 1 or more, doping is a share from 0 to below 1.",
        )
    wanted = tuple(dict.fromkeys(recurrent_matrices(model) if matrices is None else matrices))
    if not wanted:
        raise StepcellError(f"{model.name}: it has no recurrent matrix.", "name one of a Dense.")
    check_matrices(model, wanted, "Kronecker")
    _check_operations(model, wanted)
    layers = [op for op in recurrent_ops(model) if set(matrices_of(op)) & set(wanted)]
    apart = taken_apart(model, layers)
    parts = [m for name in wanted for m in (name, f"{name}_gates", f"{name}_candidate") if m in apart.weights]
    products = {name: _nearest(name, apart.weights[name], shape, terms, doping) for name in parts}
    doped, left = _replaced(apart, products, doping)
    return prune(doped, 1.0 - doping, "magnitude", pattern, scope="matrix", matrices=left) if left else doped


def _check_operations(model: Model, names: Sequence[str]) -> None:
    for op in all_ops(model):
        if not set(matrices_of(op)) & set(names):
            continue
        if isinstance(op, Recurrent):
            allowed = op.recurrent_input is None
        else:
            allowed = isinstance(op, Dense) and len(op.y.shape) == 1
        if not allowed:
            raise StepcellError(
                f"{model.name}: '{matrices_of(op)[0]}' multiplies several vectors a step, or is in factors.",
                "Kronecker products take matrices of recurrent layers, and of Dense over one vector.",
            )


@dataclass(frozen=True, eq=False)
class Products:
    """Terms of A (x) B: a [terms, rows of A, columns of A], b [terms, rows of B, columns of B]."""

    a: FloatArray
    b: FloatArray

    @property
    def whole(self) -> FloatArray:
        """The sum of the products."""
        return np.asarray(sum(np.kron(a, b) for a, b in zip(self.a, self.b, strict=True)))


def nearest_products(weights: FloatArray, shape: tuple[int, int], terms: int = 1) -> Products:
    """The sum of Kronecker products nearest to a matrix [rows, columns] in squares; A has `shape`.

    Rearranged so that every block that B scales becomes a row, each product is an outer one: the singular
    vectors (Van Loan and Pitsianis 1993). A and B share the scale.
    """
    a1, a2 = shape
    b1, b2 = weights.shape[0] // a1, weights.shape[1] // a2
    blocks = weights.reshape(a1, b1, a2, b2).transpose(0, 2, 1, 3).reshape(a1 * a2, b1 * b2)
    u, s, v = np.linalg.svd(blocks, full_matrices=False)
    root = np.sqrt(s[:terms])
    a, b = (u[:, :terms] * root).T, v[:terms] * root[:, None]
    return Products(a.reshape(-1, a1, a2), b.reshape(-1, b1, b2))


def _nearest(
    name: str, weights: FloatArray, shape: tuple[int, int] | None, terms: int, doping: float
) -> Products:
    rows, columns = weights.shape
    if shape is not None and (min(shape) < 1 or rows % shape[0] or columns % shape[1]):
        raise StepcellError(
            f"Kronecker: '{name}' [{rows}, {columns}] is no product with A [{shape[0]}, {shape[1]}].",
            "its rows and columns have to be multiples of those of A.",
        )
    shapes = [shape] if shape is not None else _smallest_shapes(rows, columns, terms)
    found = [nearest_products(weights, s, terms) for s in shapes]
    best = min(found, key=lambda products: float(np.sum((weights - products.whole) ** 2)))
    size = best.a.size + best.b.size + doping * weights.size
    if size >= weights.size:
        raise StepcellError(
            f"Kronecker: A, B and S of '{name}' hold {size:,.0f} numbers, the matrix {weights.size:,}.",
            "choose another shape, fewer terms or less doping.",
        )
    return best


def _smallest_shapes(rows: int, columns: int, terms: int) -> list[tuple[int, int]]:
    """The shapes of A for which A, B and the indices between them need the fewest bytes.

    B yields terms * (columns of A) * (rows of B) numbers, which are transposed by two bytes an index; few of
    them also mean few multiplications.
    """
    shapes = [(i, j) for i in _divisors(rows) for j in _divisors(columns)]
    sizes = [terms * (i * j + rows * columns // (i * j) + 2 * j * (rows // i)) for i, j in shapes]
    return [s for s, size in zip(shapes, sizes, strict=True) if size == min(sizes)]


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


@dataclass(frozen=True)
class _Names:
    """Parameters of one matrix: A, B, their biases, and S (None without doping)."""

    a: str
    b: str
    a_bias: str
    b_bias: str
    rest: str | None


def _replaced(model: Model, products: Mapping[str, Products], doping: float) -> tuple[Model, tuple[str, ...]]:
    """(the model with every Dense of these matrices as products, the matrices S, not yet pruned)."""
    weights: dict[str, FloatArray] = {}
    names: dict[str, _Names] = {}
    for name, found in products.items():
        a, b, a_bias, b_bias, rest = (
            new_name(model, f"{name}_{part}") for part in ("A", "B", "A_bias", "B_bias", "S")
        )
        weights[a] = np.concatenate(list(found.a), axis=1)
        weights[b] = np.concatenate(list(found.b), axis=0)
        weights |= {a_bias: np.zeros(len(weights[a])), b_bias: np.zeros(len(weights[b]))}
        if doping > 0.0:
            weights[rest] = model.weights[name] - found.whole
        names[name] = _Names(a, b, a_bias, b_bias, rest if doping > 0.0 else None)

    def rewrite(graph: Graph, op: Op) -> Sequence[Op]:
        if not isinstance(op, Dense) or op.weights not in names:
            return (op,)
        return _product(graph, op, products[op.weights], names[op.weights])

    made = rewritten(model, rewrite, weights)
    return made, tuple(n.rest for n in names.values() if n.rest is not None)


def _product(graph: Graph, op: Dense, found: Products, names: _Names) -> Sequence[Op]:
    """y = A (x) B x + S x + b: B over the rows of X, transposed, A over the rows of that, transposed."""
    terms, a1, a2 = found.a.shape
    _, b1, b2 = found.b.shape
    stem = op.y.name
    rows = graph.value(f"{stem}_rows", a2, b2)
    inner = graph.value(f"{stem}_inner", a2, terms * b1)
    turned = graph.value(f"{stem}_turned", b1, terms * a2)
    outer = graph.value(f"{stem}_outer", b1, a1)
    by_row = np.arange(a2 * terms * b1).reshape(a2, terms, b1).transpose(2, 1, 0)
    by_unit = np.arange(b1 * a1).reshape(b1, a1).T
    bias = graph.weights[op.bias]
    plain = names.rest is None and not bias.any()
    whole = op.y if plain else graph.value(f"{stem}_product", *op.y.shape)
    ops: list[Op] = [
        Take(op.x, rows, tuple(range(a2 * b2))),
        Dense(rows.name, inner, names.b, names.b_bias),
        Take(inner.name, turned, _indices(by_row)),
        Dense(turned.name, outer, names.a, names.a_bias),
        Take(outer.name, whole, _indices(by_unit)),
    ]
    return ops if plain else [*ops, *_with_rest(graph, op, whole, names.rest)]


def _with_rest(graph: Graph, op: Dense, product: Value, rest: str | None) -> list[Op]:
    """What is added to the product: S x + b, or b alone."""
    more = graph.value(f"{op.y.name}_rest", *op.y.shape)
    other = Constant(more, op.bias) if rest is None else replace(op, y=more, weights=rest)
    return [other, Binary(product.name, more.name, op.y, "add")]


def _indices(array: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in array.flat)
