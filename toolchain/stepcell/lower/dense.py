"""Lowering of dense layers, and the descriptor that those over windows share with them."""

from dataclasses import dataclass

from stepcell.ir.qmodel import QConv, QDense, Requant
from stepcell.ir.row_order import grain_of, row_order
from stepcell.lower.kernels import Kernel
from stepcell.lower.matrices import choose_kernel, multiplications, row_starts, store_matrix, stored_as
from stepcell.lower.pack import permute
from stepcell.lower.parts import Descriptor, Table, Work
from stepcell.lower.scope import Scope


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer's descriptor: its C name, how its matrix is stored, and what a call of sc_dense does."""

    name: str
    stored: str
    kernel: Kernel
    kernels: tuple[str, ...]
    work: Work


def lower_dense(scope: Scope, op: QDense) -> None:
    """Rows as they come."""
    layer = describe_dense(scope, "dense", op)
    x = scope.stored(op.x, layer.kernel)
    scope.places[op.y.name] = y = scope.local(op.y)
    relu = ", relu" if op.relu else ""
    sizes = f"{op.matrix.weights.shape[1]} -> {op.y.size}"
    scope.call(
        layer.name,
        "sc_dense",
        f"&{scope.shared.symbol(layer.name)}",
        x.expression,
        y.expression,
        comment=f"{layer.name}: y = W x + b{relu}, {sizes} ({layer.stored})",
        macs=op.matrix.weights.size,
        kernels=layer.kernels,
        work=layer.work,
    )


def describe_dense(scope: Scope, kind: str, op: QDense | QConv) -> DenseLayer:
    """The tables and the descriptor of a matrix with one requantization."""
    shared, name = scope.shared, scope.shared.layer_name(kind)
    rows = len(op.matrix.weights)
    grain = grain_of(shared.group_rows)
    order = row_order(rows, grain)
    starts = row_starts(op.bias, op.requant.pre_shift, order)
    chosen = choose_kernel(scope, name, op.matrix, op.x, order, starts)
    matrix = store_matrix(scope, f"{name}_weights", "matrix", chosen, op.matrix)
    packed = permute(op.requant.multipliers, order)
    multipliers = Table(f"{name}_multipliers", "uint16_t", packed, "of each row")
    shared.tables.append(multipliers)
    shared.descriptors.append(
        Descriptor(
            name,
            "sc_dense_layer",
            (matrix,),
            (("multipliers", multipliers.name),),
            (("post", op.requant.post_shift),),
            (
                ("rows", rows),
                ("grain", grain),
                *shift_numbers(op.requant),
                ("least", 0 if op.relu else -32768),
            ),
        )
    )
    passes = -(-rows // scope.pass_units)
    work = (
        ("sc_dense", "call", 1),
        ("sc_dense", "pass", passes),
        ("sc_dense", "item", rows),
        *((("sc_dense", "saturated", rows),) if op.requant.saturates else ()),
        *multiplications(chosen, len(order), passes),
    )
    kernels = (chosen.kernel.name, "sc_dense_tail")
    return DenseLayer(name, stored_as(chosen, op.matrix), chosen.kernel, kernels, work)


def shift_numbers(requant: Requant) -> tuple[tuple[str, int], ...]:
    """The shift of the sums: the tail's, or one that saturates before it."""
    if requant.saturates:
        return (("pre_shift", 0), ("saturating_shift", requant.pre_shift))
    return (("pre_shift", requant.pre_shift), ("saturating_shift", 0))
