"""What restructuring passes have in common: operations that become others, and whole cells taken apart."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices, parameters, writes
from stepcell.ir.model import FloatArray, Function, Mask, Model, Stage, all_ops, recurrent_ops
from stepcell.ir.ops import Op, Recurrent, Value
from stepcell.ir.verify import verify
from stepcell.quantize.cells import Cell, take_apart


@dataclass(eq=False)
class Graph:
    """A function whose operations are being replaced; the model's weights and masks grow with it."""

    values: dict[str, Value]
    weights: dict[str, FloatArray]
    masks: dict[str, Mask]
    taken: set[str] = field(default_factory=set)
    """Names of values that are no longer free."""

    def value(self, name: str, *shape: int) -> Value:
        """A new value, called `name` where that is free."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return Value(name, shape)


Rewrite = Callable[[Graph, Op], Sequence[Op]]


def rewritten(model: Model, rewrite: Rewrite, weights: Mapping[str, FloatArray] | None = None) -> Model:
    """The model with what `rewrite` makes of every operation, and without the parameters that none uses.

    weights: new parameters, by name.
    """
    known, masks = {**model.weights, **(weights or {})}, dict(model.masks)
    functions = tuple(_function(model, function, rewrite, known, masks) for function in model.functions)
    changed = replace(model, functions=functions, quantized={})
    used = {name for op in all_ops(changed) for name in parameters(op)}
    return verify(
        replace(
            changed,
            weights={name: array for name, array in known.items() if name in used},
            masks={name: mask for name, mask in masks.items() if name in used},
        )
    )


def _function(
    model: Model,
    function: Function,
    rewrite: Rewrite,
    weights: dict[str, FloatArray],
    masks: dict[str, Mask],
) -> Function:
    inputs = (*function.inputs, *(v for stage in function.stages for v in stage.inputs))
    made = [v for op in _ops(function) for v in writes(op)]
    values = {v.name: v for v in (*(s.value for s in model.states), *inputs, *made)}
    graph = Graph(values, weights, masks, set(values))

    def all_of(ops: tuple[Op, ...]) -> tuple[Op, ...]:
        return tuple(new for op in ops for new in rewrite(graph, op))

    stages: tuple[Stage, ...] = tuple(replace(s, ops=all_of(s.ops)) for s in function.stages)
    finish = function.finish
    finish = None if finish is None else replace(finish, ops=all_of(finish.ops))
    return replace(function, stages=stages, finish=finish)


def _ops(function: Function) -> tuple[Op, ...]:
    finish = function.finish.ops if function.finish is not None else ()
    return (*(op for stage in function.stages for op in stage.ops), *finish)


def taken_apart(model: Model, layers: Collection[Recurrent]) -> Model:
    """The model with these layers as operations of their equations, each matrix in a Dense of its own."""

    def rewrite(graph: Graph, op: Op) -> Sequence[Op]:
        if not isinstance(op, Recurrent) or op not in layers:
            return (op,)
        cell = Cell(op.h_next.name, graph.values, graph.weights, graph.masks)
        take_apart(op, cell)
        return cell.ops

    return rewritten(model, rewrite) if layers else model


def recurrent_matrices(model: Model) -> tuple[str, ...]:
    """The recurrent matrices that are not in factors, in order of execution."""
    whole = (op for op in recurrent_ops(model) if op.recurrent_input is None)
    return tuple(dict.fromkeys(op.recurrent_weights for op in whole))


def check_matrices(model: Model, names: Sequence[str], doing: str) -> None:
    """StepcellError for a name that no layer's matrix has, and for a matrix that is pruned."""
    known = tuple(dict.fromkeys(name for op in all_ops(model) for name in matrices(op)))
    for name in names:
        if name not in known:
            raise StepcellError(
                f"{model.name}: {doing} found no matrix '{name}'.", f"it has {', '.join(known)}."
            )
        if name in model.masks:
            raise StepcellError(
                f"{model.name}: {doing} takes no matrix that is pruned, and '{name}' is.",
                "prune the factors afterwards.",
            )


def new_name(model: Model, name: str, taken: Collection[str] = ()) -> str:
    """`name`, or where a parameter has it, it with underscores."""
    while name in model.weights or name in taken:
        name += "_"
    return name


def matrix_bytes(model: Model) -> int:
    """Bytes of all matrices at a byte a weight, each counted once, pruned weights not at all."""
    names = {name for op in all_ops(model) for name in matrices(op)}
    kept = (model.masks[n].keep.sum() if n in model.masks else model.weights[n].size for n in names)
    return int(sum(kept))
