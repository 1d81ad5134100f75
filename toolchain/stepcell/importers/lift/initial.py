"""Initial states: constants, or inputs of the source that carry a state from call to call."""

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.graph import Unsupported
from stepcell.importers.lift.axes import Relabel, is_open, labels
from stepcell.importers.lift.context import Known, Lift, Lifted, Tensor


def initial_state(lift: Lift, name: str, start: Lifted | None, hidden: int) -> NDArray[np.float64]:
    """The state's initial value [hidden]; a state input is noted, and starts at zero."""
    if start is None:
        return np.zeros(hidden)
    if isinstance(start, Tensor):
        _note_input(lift, name, start, hidden)
        return np.zeros(hidden)
    return _constant(start, hidden)


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
    batch = start.axes[1] if len(start.axes) == 3 else ()
    unknown = [label for label in labels(batch) if is_open(label)]
    learned = dict.fromkeys(unknown, "batch")
    if lift.roles.get(start.value) != "state":
        if start.value not in lift.values or start.value not in {i.name for i in lift.graph.inputs}:
            raise Unsupported(
                "starts at a state that the model computes; a constant or an input of the file is allowed",
                "models that hand one network's state to another are not imported yet.",
            )
        learned[start.value] = "state"
    if learned:
        raise Relabel(learned)
    index = _index(lift, start, hidden)
    if index is None:
        raise Unsupported(
            f"starts at a part of '{start.value}' that is not one index of its leading axes",
            "store the states one after the other along the first axis.",
        )
    lift.entries[name] = (start.value, index)


def _index(lift: Lift, start: Tensor, hidden: int) -> tuple[int | None, ...] | None:
    """Where the state lies in its input: an index per leading axis, None for the batch axis."""
    axes = _input_axes(lift, start.value)
    whole = np.arange(lift.values[start.value].size).reshape([1 if a is None else a for a in axes])
    wanted = start.table.ravel()
    rest = wanted.size
    index: list[int | None] = []
    for k, size in enumerate(axes):
        if None not in axes[k:] and int(np.prod([n for n in axes[k:] if n is not None])) == rest:
            break
        if size is None:
            index.append(None)
        else:
            index.append(int(np.unravel_index(wanted[0], whole.shape)[k]))
    picked = whole[tuple(0 if i is None else i for i in index)]
    return tuple(index) if rest == hidden and np.array_equal(picked.ravel(), wanted) else None


def _input_axes(lift: Lift, name: str) -> list[int | None]:
    """Sizes of a state input's axes; None for batch."""
    source = next(found for found in lift.graph.inputs if found.name == name)
    roles = [lift.roles.get(f"{name}.{k}") for k in range(len(source.shape))]
    return [None if role == "batch" else int(size) for role, size in zip(roles, source.shape, strict=True)]
