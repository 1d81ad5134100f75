"""Which operations of single elements become one: all that depend on one value and on single constants.

A region is a function y = f(x) of one value. f may start from the sum of squares of two values, or of a row
(the magnitude of a spectrum, a norm): then x is its root, which fits int16 where the sum would not.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stepcell.ir.graph import reads, writes
from stepcell.ir.model import FloatArray, Function, Model
from stepcell.ir.operators import FunctionName
from stepcell.ir.ops import (
    Activate,
    Binary,
    Constant,
    Op,
    Reduce,
    Value,
)
from stepcell.quantize.lines import Line, line_after, line_with
from stepcell.reference.float_functions import elementwise
from stepcell.reference.float_ops import arithmetic

NATIVE = ("identity", "relu", "sigmoid", "tanh")
"""Functions that need no table of their own."""
_ALONG_ROWS = ("softmax", "log_softmax")
_POSITIVE = ("relu", "sigmoid", "abs", "square", "exp", "softplus", "sqrt", "softmax", "hard_sigmoid")


@dataclass(frozen=True)
class Region:
    """y = f(root). `squares` are the two values, or the one row, of whose squares root is the norm."""

    root: str
    function: Callable[[FloatArray], FloatArray]
    inside: tuple[str, ...]
    """Values that only this region reads, the result among them."""
    line: Line | None
    squares: tuple[str, ...] = ()
    total: str = ""
    """The float model's sum of squares, or their mean if `mean_of` is their number."""
    mean_of: int = 1
    positive: bool = False
    native: FunctionName | None = None
    """f is this function alone."""
    single: Activate | None = None
    """f is this operation alone."""


def find_regions(model: Model, function: Function) -> dict[str, Region]:
    """Regions by the name of their result; operations whose results lie inside of one are left out."""
    regions: dict[str, Region] = {}
    finish = function.finish.ops if function.finish is not None else ()
    kept = {*function.outputs, *(function.finish.outputs if function.finish is not None else ())}
    for stage in function.stages:
        updated = {value for _, value in stage.updates}
        folds = {v for s, v in stage.updates for op in stage.ops if s in reads(op) and v == _name(op)}
        later = {
            name for other in function.stages if other is not stage for o in other.ops for name in reads(o)
        }
        outside = kept | updated | later | set(stage.outputs)
        regions |= _Finder(model, stage.ops, outside, folds).run()
    return regions | _Finder(model, finish, kept, set()).run()


def _name(op: Op) -> str:
    return writes(op)[0].name


class _Finder:
    """One pass over the operations of a graph."""

    def __init__(self, model: Model, ops: tuple[Op, ...], kept: set[str], folds: set[str]) -> None:
        self.ops, self.kept, self.folds = ops, kept, folds
        self.made = {value.name: op for op in ops for value in writes(op)}
        self.values: dict[str, Value] = {s.name: s.value for s in model.states}
        self.values |= {v.name: v for f in model.functions for v in f.inputs}
        self.values |= {v.name: v for f in model.functions for stage in f.stages for v in stage.inputs}
        self.values |= {v.name: v for op in ops for v in writes(op)}
        self.readers = Counter(name for op in ops for name in reads(op))
        self.constants = {op.y.name: model.weights[op.weights] for op in ops if isinstance(op, Constant)}
        self.found: dict[str, Region] = {}

    def run(self) -> dict[str, Region]:
        """The regions that no larger one contains, and that are more than one native function."""
        for op in self.ops:
            region = self._grown(op)
            if region is not None:
                self.found[_name(op)] = region
        inside = {name for region in self.found.values() for name in region.inside[:-1]}
        return {
            name: region
            for name, region in self.found.items()
            if name not in inside and region.native is None
        }

    def _grown(self, op: Op) -> Region | None:
        name = _name(op)
        if name in self.folds:
            return None
        match op:
            case Activate() if op.function not in _ALONG_ROWS:
                return self._applied(op)
            case Binary():
                return self._combined(op)
            case Reduce() if op.kind in ("sum", "mean"):
                return self._norm(op)
            case _:
                return None

    def _applied(self, op: Activate) -> Region:
        before = self._of(op.x, op)
        if _is_clamped(before) and line_after(before.line, op) is None:
            before = _itself(op.x, self._is_positive(op.x))  # clamping is exact; a table would blur its ends
        native = op.function if op.function in NATIVE and not before.inside and not before.squares else None
        single = op if not before.inside and not before.squares else None
        inner = before.function
        return replace(
            before,
            function=lambda v: elementwise(op.function, inner(v), op.alpha, op.beta),
            inside=(*before.inside, op.y.name),
            line=line_after(before.line, op),
            native=native,
            single=single,
        )

    def _combined(self, op: Binary) -> Region | None:
        a, b = self._constant(op.a), self._constant(op.b)
        if a is not None and b is not None:
            return None
        if a is not None or b is not None:
            data, number = (op.b, a) if a is not None else (op.a, b)
            assert number is not None
            if self.values[data].shape != op.y.shape or self.values[data].dtype == "token":
                return None
            return self._with_number(op, self._of(data, op), number, first=a is not None)
        return self._of_one_root(op) or self._hypot(op)

    def _constant(self, name: str) -> float | None:
        array = self.constants.get(name)
        return float(array.ravel()[0]) if array is not None and array.size == 1 else None

    def _with_number(self, op: Binary, before: Region, number: float, first: bool) -> Region:
        inner, operator = before.function, op.operator

        def function(v: FloatArray) -> FloatArray:
            value = inner(v)
            return (
                arithmetic(operator, np.asarray(number), value)
                if first
                else arithmetic(operator, value, np.asarray(number))
            )

        return replace(
            before,
            function=function,
            inside=(*before.inside, op.y.name),
            line=line_with(before.line, op, number, first),
            native=None,
            single=None,
        )

    def _of_one_root(self, op: Binary) -> Region | None:
        """Both operands are functions of the same value."""
        if op.a in self.constants or op.b in self.constants:
            return None
        a, b = self._of(op.a, op), self._of(op.b, op)
        if a.squares or b.squares or a.root != b.root:
            return None
        if {self.values[n].shape for n in (op.a, op.b)} != {op.y.shape} or self._is_token(a.root):
            return None
        return Region(
            a.root,
            lambda v: arithmetic(op.operator, a.function(v), b.function(v)),
            (*dict.fromkeys((*a.inside, *b.inside)), op.y.name),
            None,
            positive=a.positive,
        )

    def _is_token(self, name: str) -> bool:
        return self.values[name].dtype == "token"

    def _hypot(self, op: Binary) -> Region | None:
        """The sum of two squares."""
        if op.operator != "add":
            return None
        bases = [self._base_of_square(name) for name in (op.a, op.b)]
        if bases[0] is None or bases[1] is None:
            return None
        shapes = {self.values[name].shape for name in (*bases, op.a, op.b) if name is not None}
        if shapes != {op.y.shape} or any(not self._only_here(name, op) for name in (op.a, op.b)):
            return None
        return Region(
            f"{op.y.name}_root",
            np.square,
            (op.a, op.b, op.y.name),
            None,
            (bases[0], bases[1]),
            op.y.name,
            positive=True,
        )

    def _norm(self, op: Reduce) -> Region | None:
        """The sum or mean of a row's squares."""
        base = self._base_of_square(op.x)
        if (
            base is None
            or not self._only_here(op.x, op)
            or self.values[base].shape != self.values[op.x].shape
        ):
            return None
        count = self.values[op.x].shape[-1]
        divisor = count if op.kind == "mean" else 1
        return Region(
            f"{op.y.name}_root",
            lambda v: v * v / divisor,
            (op.x, op.y.name),
            None,
            (base,),
            op.y.name,
            mean_of=divisor,
            positive=True,
        )

    def _base_of_square(self, name: str) -> str | None:
        op = self.made.get(name)
        if isinstance(op, Activate) and (
            op.function == "square" or (op.function == "power" and op.alpha == 2.0)
        ):
            return op.x
        return op.a if isinstance(op, Binary) and op.operator == "mul" and op.a == op.b else None

    def _only_here(self, name: str, op: Op) -> bool:
        """Whether nothing but `op` reads a value."""
        here = sum(name == read for read in reads(op))
        return name not in self.kept and self.readers[name] == here

    def _of(self, name: str, op: Op) -> Region:
        """The region whose result is `name`, if only `op` reads it; else that value itself as a root."""
        if name in self.found and self._only_here(name, op):
            return self.found[name]
        return _itself(name, self._is_positive(name))

    def _is_positive(self, name: str) -> bool:
        """Whether a value cannot be negative."""
        op = self.made.get(name)
        match op:
            case Activate():
                return op.function in _POSITIVE or (
                    op.function == "clip" and op.alpha is not None and op.alpha >= 0.0
                )
            case Binary():
                same = op.operator == "mul" and op.a == op.b
                return same or (
                    op.operator in ("add", "mul", "div") and all(map(self._is_positive, (op.a, op.b)))
                )
            case Reduce():
                return self._is_positive(op.x)
            case Constant():
                return bool((self.constants[name] >= 0.0).all())
            case _:
                return False


def _itself(name: str, positive: bool) -> Region:
    """A value as a region of no operation."""
    return Region(name, lambda v: v, (), Line(), positive=positive)


def _is_clamped(region: Region) -> bool:
    """Whether the region is a line with two ends."""
    line = region.line
    return bool(region.inside) and line is not None and math.isfinite(line.greatest - line.least)


def absorbed(ops: Iterable[Op], regions: Mapping[str, Region]) -> frozenset[str]:
    """Values that exist only inside of regions, and constants that nothing else reads."""
    inside = {name for region in regions.values() for name in region.inside}
    read_outside = {name for op in ops if _name(op) not in inside for name in reads(op)}
    numbers = {op.y.name for op in ops if isinstance(op, Constant)} - read_outside
    return frozenset((inside - regions.keys()) | numbers)


def table_arguments(ops: Iterable[Op], regions: Mapping[str, Region]) -> frozenset[str]:
    """Values that a sigmoid or tanh outside of every region reads: those must be Q4.11."""
    inside = {name for region in regions.values() for name in region.inside}
    return frozenset(
        op.x
        for op in ops
        if isinstance(op, Activate) and op.function in ("sigmoid", "tanh") and op.y.name not in inside
    )
