"""Initial states: constants, or inputs of the source that carry a state from call to call."""

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.graph import Unsupported
from stepcell.importers.lift.axes import Relabel, is_open, labels
from stepcell.importers.lift.context import Known, Lift, Lifted, Tensor, input_of
from stepcell.importers.reroll.split import Index, slice_of
from stepcell.ir import StateTensor
from stepcell.ir.ops import Take, Value


def initial_state(lift: Lift, name: str, start: Lifted | None, hidden: int) -> NDArray[np.float64]:
    """The state's initial value [hidden]; a state input is noted, and starts at zero."""
    if start is None:
        return np.zeros(hidden)
    if isinstance(start, Tensor):
        _note_input(lift, name, start, hidden)
        return np.zeros(hidden)
    return _constant(start, hidden)


def learn_input(lift: Lift, start: Lifted | None) -> None:
    """Learn that an input of the file which an operator starts at is a state, before axes are looked at."""
    source = input_of(lift, start) if isinstance(start, Tensor) else None
    role = lift.roles.get(source or "")
    if source and (role not in ("state", "carried") or (role == "carried" and not lift.single_step)):
        raise Relabel({source: "state"} | _batch_labels(start))


def _batch_labels(start: Lifted | None) -> dict[str, str]:
    """The open labels of an initial state [directions, batch, hidden]: what its axes are."""
    axes = start.axes if isinstance(start, Tensor) and len(start.axes) == 3 else ((), (), ())
    kinds = zip(axes, ("inner", "batch", "inner"), strict=True)
    return {label: kind for axis, kind in kinds for label in labels(axis) if is_open(label)}


def is_carried(lift: Lift, start: Lifted | None) -> bool:
    """Whether the operator starts at a state that the user named, one call of the file being one step."""
    return isinstance(start, Tensor) and lift.roles.get(input_of(lift, start) or "") == "carried"


def take_carried(lift: Lift, name: str, start: Lifted | None, hidden: int) -> None:
    """The operator's state is a part of the one that the user named; `split_states` separates it."""
    assert isinstance(start, Tensor)
    if _batch_labels(start):
        raise Relabel(_batch_labels(start))
    if start.table.size != hidden:
        raise Unsupported(f"starts at {start.table.size} numbers for {hidden} units", "check the file.")
    lift.emit(Take(start.value, Value(name, (hidden,)), tuple(map(int, start.table.ravel()))), "step")


def _constant(start: Known, hidden: int) -> NDArray[np.float64]:
    if start.ndim != 3 or start.shape[2] != hidden or start.size == 0:
        raise Unsupported(
            f"has an initial state of shape {list(start.shape)} for {hidden} units", "check the file."
        )
    first: NDArray[np.float64] = start[0, 0].astype(np.float64)
    if not np.array_equal(np.broadcast_to(first, start.shape[1:]), start[0]):
        raise Unsupported(
            "has an initial state that differs from sequence to sequence", "use one for all, or an input."
        )
    if not np.isfinite(first).all():
        raise Unsupported("has an initial state with NaN or infinite numbers", "check the file.")
    return first


def _note_input(lift: Lift, name: str, start: Tensor, hidden: int) -> None:
    """Remember which part of which source input the state is; learn that the input is a state."""
    learned = _batch_labels(start)
    if lift.roles.get(start.value) != "state":
        raise Unsupported(
            "starts at a state that the model computes; a constant or an input of the file is allowed",
            "models that hand one network's state to another are not imported yet.",
        )
    if learned:
        raise Relabel(learned)
    index = _index(lift, start, hidden)
    if index is None:
        raise Unsupported(
            f"starts at a part of '{start.value}' that is no regular slice of {hidden} numbers",
            "store the states one after the other along the first axis.",
        )
    lift.entries[name] = (start.value, index)


def _index(lift: Lift, start: Tensor, hidden: int) -> Index | None:
    """Where the state lies in its input; None if its elements are no regular slice of it, in order."""
    axes = _input_axes(lift, start.value)
    whole = StateTensor("", "", None, tuple(None if n is None else (0, n, 1) for n in axes))
    elements = start.table.ravel()
    if elements.size != hidden:
        return None
    index = list(slice_of(whole, tuple(n for n in axes if n), elements) or ())
    while index and index[-1] == (0, axes[len(index) - 1], 1):
        index.pop()
    return tuple(index) or None


def _input_axes(lift: Lift, name: str) -> list[int | None]:
    """Sizes of a state input's axes; None for batch."""
    source = next(found for found in lift.graph.inputs if found.name == name)
    roles = [lift.roles.get(f"{name}.{k}") for k in range(len(source.shape))]
    return [None if role == "batch" else int(size) for role, size in zip(roles, source.shape, strict=True)]
