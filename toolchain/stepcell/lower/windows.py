"""Lowering of layers over windows."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.qmodel import QConv
from stepcell.ir.row_order import row_order
from stepcell.ir.window import Window
from stepcell.lower.dense import DenseLayer, describe_dense
from stepcell.lower.kernels.kernel import Kernel
from stepcell.lower.kernels.portable import KERNELS
from stepcell.lower.matrices import row_starts
from stepcell.lower.parts import C_BYTES, Descriptor, Table, Work
from stepcell.lower.scope import Scope

_LARGEST = 0xFFFF
"""Sizes and counts of windows are 16-bit numbers."""


@dataclass(frozen=True)
class _Grid:
    """A window over rows and columns of vectors; `tap` elements each."""

    rows: int
    columns: int
    window: Window
    tap: int

    def pair(self, name: str) -> tuple[int, int]:
        """A number of the window, (down, across)."""
        found = getattr(self.window, name)
        return (found[0], found[1]) if len(found) == 2 else (1, found[0])


def lower_conv(scope: Scope, op: QConv) -> None:
    """A dense layer at every position; or of each channel alone."""
    if op.depthwise:
        _lower_depthwise(scope, op)
        return
    grid = _grid(op)
    layer = describe_dense(scope, "conv", op)
    x = scope.stored(op.x, layer.kernel)
    unit, size = C_BYTES[x.ctype], op.matrix.weights.shape[1]
    in_place, whole = _in_place(grid, layer.kernel, unit)
    padded = -(-size // layer.kernel.multiple) * layer.kernel.multiple
    words = _only_words(grid, unit)
    name = _describe_window(scope, layer.name, grid, unit, padded * unit, in_place, words)
    scope.places[op.y.name] = y = scope.local(op.y)
    scratch = "NULL"
    if not (in_place and whole):
        count = -(-padded // scope.shared.padding) * scope.shared.padding
        scratch = scope.array(f"{layer.name}_columns", x.ctype, count)
    count = op.window.count
    relu = ", relu" if op.relu else ""
    scope.call(
        layer.name,
        "sc_conv",
        f"&{scope.shared.symbol(layer.name)}",
        f"&{scope.shared.symbol(name)}",
        x.expression,
        y.expression,
        scratch,
        comment=f"{layer.name}: y = W x + b{relu} at {count} positions, {size} -> {len(op.matrix.weights)} "
        f"({layer.stored})",
        macs=op.matrix.weights.size * count,
        kernels=("sc_dense", *layer.kernels),
        work=_conv_work(grid, layer, count, in_place, size * unit // (4 if words else 1)),
    )


def _conv_work(grid: _Grid, layer: DenseLayer, count: int, in_place: bool, moved: int) -> Work:
    gathered = count - (_inside(grid) if in_place else 0)
    down, across = grid.pair("kernel")
    runs = down * (1 if grid.pair("dilations")[1] == 1 else across)
    return (
        ("sc_conv", "call", 1),
        ("sc_conv", "position", count),
        ("sc_conv", "run", gathered * runs),
        ("sc_conv", "item", gathered * moved),
        *((function, what, often * count) for function, what, often in layer.work),
    )


def _grid(op: QConv) -> _Grid:
    """One spatial axis is columns; rows that the window takes whole are vectors of one column."""
    window = op.window
    if len(window.spatial) == 1:
        grid = _Grid(1, window.spatial[0], window, window.channels)
    else:
        rows, columns = window.spatial
        grid = _Grid(rows, columns, window, window.channels)
        if window.kernel[1] == columns and window.pads[1] == (0, 0) and window.dilations == (1, 1):
            across = replace(
                window,
                spatial=(rows,),
                channels=columns * window.channels,
                kernel=window.kernel[:1],
                strides=window.strides[:1],
                dilations=(1,),
                pads=window.pads[:1],
            )
            grid = _Grid(1, rows, across, across.channels)
    if op.depthwise and len(window.spatial) == 2:
        grid = _Grid(*window.spatial, window, window.channels)
    largest = max(*grid.window.spatial, *window.strides, *window.dilations, 4 * window.taps * window.channels)
    if largest > _LARGEST:
        raise StepcellError(
            f"{op.y.name}: its window or what it slides over counts up to {largest}; {_LARGEST} is allowed.",
            "split the layer, or stride before it.",
        )
    return grid


def _in_place(grid: _Grid, kernel: Kernel, unit: int) -> tuple[bool, bool]:
    """(whether windows inside the input can be read where they are, whether all windows lie inside)."""
    window = grid.window
    down, across = grid.pair("kernel")
    contiguous = down == 1 and grid.pair("dilations")[1] == 1
    exact = (across * grid.tap) % kernel.multiple == 0
    steps = (grid.pair("strides")[1], grid.columns if grid.rows > 1 else 0, window.pads[-1][0])
    aligned = all(step * grid.tap * unit % 4 == 0 for step in steps)
    return contiguous and exact and aligned, _inside(grid) == window.count


def _inside(grid: _Grid) -> int:
    """How many windows lie inside the input."""
    counts = []
    for axis, size in enumerate(grid.window.spatial):
        starts = np.arange(grid.window.positions[axis]) * grid.window.strides[axis]
        starts = starts - grid.window.pads[axis][0]
        last = starts + (grid.window.kernel[axis] - 1) * grid.window.dilations[axis]
        counts.append(int(((starts >= 0) & (last < size)).sum()))
    return prod(counts)


def _only_words(grid: _Grid, unit: int) -> int:
    return int(grid.tap * unit % 4 == 0)


def _describe_window(
    scope: Scope, layer: str, grid: _Grid, unit: int, padded: int, in_place: bool, words: int
) -> str:
    name = f"{layer}_window"
    positions, kernel = grid.pair("positions"), grid.pair("kernel")
    strides, dilations = grid.pair("strides"), grid.pair("dilations")
    before = [pad[0] for pad in grid.window.pads]
    before = before if len(before) == 2 else [0, *before]
    numbers = (
        ("rows", grid.rows),
        ("columns", grid.columns),
        *_both("positions", positions),
        *_both("kernel", kernel),
        *_both("stride", strides),
        *_both("dilation", dilations),
        *_both("before", (before[0], before[1])),
        ("tap", grid.tap * unit),
        ("padded", padded),
        ("in_place", int(in_place)),
        ("words", words),
    )
    scope.shared.descriptors.append(Descriptor(name, "sc_window", (), (), (), numbers))
    return name


def _both(name: str, pair: tuple[int, int]) -> tuple[tuple[str, int], tuple[str, int]]:
    return ((f"{name}_down", pair[0]), (f"{name}_across", pair[1]))


def _lower_depthwise(scope: Scope, op: QConv) -> None:
    shared, grid = scope.shared, _grid(op)
    name = shared.layer_name("depthwise")
    channels, taps = op.matrix.weights.shape
    bits = 8 if op.matrix.reads_view else scope.value(op.x).bits
    kernel = next(k for k in KERNELS if k.input_bits == bits and k.format == "dense")
    x = scope.stored(op.x, kernel)
    order = row_order(channels, 1)
    starts = row_starts(op.bias, op.requant.pre_shift, order)
    tables = (
        Table(
            f"{name}_weights",
            "int8_t",
            op.matrix.weights.T.reshape(-1),
            f"{taps} taps of {channels} channels",
        ),
        Table(f"{name}_start", "int32_t", starts, "what accumulators start with"),
        Table(f"{name}_multipliers", "uint16_t", op.requant.multipliers, "of each channel"),
    )
    shared.tables.extend(tables)
    fields = tuple(zip(("weights", "start", "multipliers"), (table.name for table in tables), strict=True))
    numbers = (
        ("channels", channels),
        ("pre_shift", op.requant.pre_shift),
        ("least", 0 if op.relu else -32768),
    )
    post = (("post", op.requant.post_shift),)
    shared.descriptors.append(Descriptor(name, "sc_depthwise_layer", (), fields, post, numbers))
    window = _describe_window(scope, name, grid, 1, 0, in_place=False, words=0)
    scope.places[op.y.name] = y = scope.local(op.y)
    function = f"sc_depthwise_s{bits}"
    relu = ", relu" if op.relu else ""
    macs = op.window.count * channels * taps
    scope.call(
        name,
        function,
        f"&{shared.symbol(name)}",
        f"&{shared.symbol(window)}",
        x.expression,
        y.expression,
        comment=f"{name}: y[c] = w[c] x[c] + b[c]{relu}, {op.window.count} positions of {channels} channels",
        macs=macs,
        work=(
            (function, "call", 1),
            (function, "position", op.window.count),
            (function, "item", op.y.size),
            (function, "tap", macs),
        ),
    )
