"""Calls of memories and of attention over them: one row a step in place, then scores, weights, their mean."""

from stepcell.ir.qattention import QAppend, QAttend
from stepcell.lower.parts import Work
from stepcell.lower.scope import Place, Scope


def lower_append(scope: Scope, op: QAppend) -> None:
    """Into the memory where it lies: it is a state, and becomes this."""
    layer = scope.shared.layer_name("append")
    rows, width = op.y.shape[0], op.y.size // op.y.shape[0]
    function = f"sc_append_s{op.y.bits}"
    arguments = (scope.places[op.y.name].expression, scope.place(op.count).expression)
    x = scope.place(op.x).expression
    work = ((function, "call", 1), (function, "item", width))
    scope.call(
        layer, function, *arguments, x, rows, width, comment=f"{layer}: a row of {op.memory}", work=work
    )


def lower_attend(scope: Scope, op: QAttend) -> None:
    """Three calls that share an array of int32, one for each row."""
    layer, count = scope.shared.layer_name("attend"), scope.place(op.count).expression
    keys, values = scope.place(op.keys), scope.place(op.values)
    rows = keys.value.shape[0]
    width = keys.value.size // rows
    weights = scope.array(f"{op.y.name}_weights", "int32_t", rows)
    scores = f"sc_scores_s{keys.value.bits}"
    query = scope.view(op.query, "int8_t") if op.reads_view else scope.place(op.query)
    product = () if op.reads_view else (scope.shared.shift(op.product_shift),)
    scope.call(
        layer,
        scores,
        *(weights, query.expression, keys.expression, rows, width, count, *product),
        comment=f"{layer}: {op.y.name}, scores, weights and the mean of at most {rows} rows",
        work=_work(scores, rows, width),
        macs=rows * width,
    )
    exponent = (scope.shared.shift(op.pre_shift), op.multiplier, scope.shared.shift(op.shift), op.fraction)
    scope.call(layer, "sc_weights", weights, rows, count, *exponent, work=_work("sc_weights", rows, 0))
    _mix(scope, op, layer, weights, values, count)


def _mix(scope: Scope, op: QAttend, layer: str, weights: str, values: Place, count: str) -> None:
    rows = values.value.shape[0]
    width = values.value.size // rows
    mix = f"sc_mix_s{values.value.bits}"
    scope.places[op.y.name] = y = scope.local(op.y)
    mean = (op.mean_multiplier, scope.shared.shift(op.mean_shift))
    scope.call(
        layer,
        mix,
        *(y.expression, weights, values.expression, rows, width, count, *mean),
        work=(*_work(mix, rows, width), (mix, "four_columns", width // 4), (mix, "column", width % 4)),
        macs=rows * width,
    )


def _work(function: str, rows: int, width: int) -> Work:
    """Of a full memory; elements of a row are taken by fours, what is left one by one."""
    items = ((function, "four", rows * (width // 4)), (function, "item", rows * (width % 4)))
    return ((function, "call", 1), (function, "row", rows), *(items if width else ()))
