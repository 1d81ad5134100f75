"""The axes of a source tensor: which parts are batch, which are time, which are inner.

An axis is a row-major product of atoms. An atom is an inner size (int) or a label (str): "batch",
"time", or "name.k" for axis k of an input whose role is not known yet. A merged axis has several
atoms. Every label has a size: what the file freezes it to, or a number that occurs nowhere else.
"""

from collections.abc import Mapping
from math import gcd, prod

from stepcell.importers.graph import Unsupported

Atom = int | str
Axis = tuple[Atom, ...]
Axes = tuple[Axis, ...]
Sizes = Mapping[str, int]

BATCH: Axis = ("batch",)
TIME: Axis = ("time",)
KEYS = "keys"
"""The label of the steps that attention weights, where those of its queries are "time"."""
AFTER = "\u2192"
"""Between an input's label and what a window made of its size, while its role is not known: `x.2\u21923`."""


class Relabel(Exception):
    """What was learned about labels: {"x.1": "time"}; lifting starts again with it."""

    def __init__(self, roles: dict[str, str], action: str = "") -> None:
        super().__init__(str(roles))
        self.roles = {name.partition(AFTER)[0]: role for name, role in roles.items()}
        self.action = action


def labels(axis: Axis) -> tuple[str, ...]:
    """The labels among an axis's atoms."""
    return tuple(atom for atom in axis if isinstance(atom, str))


def inner(axis: Axis) -> int:
    """The number of elements along an axis within one step."""
    return prod(atom for atom in axis if isinstance(atom, int))


def extent(axis: Axis, sizes: Sizes) -> int:
    """The size of an axis as the file's shape arithmetic sees it."""
    return prod(atom if isinstance(atom, int) else sizes[atom] for atom in axis)


def without(axis: Axis, label: str) -> Axis:
    """The axis without a label; (1,) if nothing is left."""
    return tuple(atom for atom in axis if atom != label) or (1,)


def replaced(axes: Axes, index: int, axis: Axis) -> Axes:
    """The axes with one exchanged."""
    return (*axes[:index], axis, *axes[index + 1 :])


def is_open(label: str) -> bool:
    """Whether nothing is known about a label yet."""
    return label not in ("batch", "time", KEYS)


def require_inner(axis: Axis, action: str) -> None:
    """An operation works along this axis, so it is inner: learn that, or refuse batch and time."""
    found = labels(axis)
    unknown = [label for label in found if is_open(label)]
    if unknown:
        raise Relabel(dict.fromkeys(unknown, "inner"), action)
    if found:
        raise Unsupported(
            f"{action} the {' and '.join(found)} axis; only axes within one step are allowed",
            "let only the recurrent layers, the last step, a mean and a maximum cross time.",
        )


def unify(a: Axis, b: Axis) -> Axis:
    """One axis for two that meet in an elementwise operation; a label wins over size one."""
    if a == b or (inner(b) == 1 and not labels(b)):
        return a
    if inner(a) == 1 and not labels(a):
        return b
    learned = {
        unknown: known
        for x, y in zip(labels(a), labels(b), strict=False)
        for unknown, known in ((x, y), (y, x))
        if is_open(unknown) and not is_open(known)
    }
    if learned:
        raise Relabel(learned)
    if labels(a) and labels(b) and all(is_open(label) for label in (*labels(a), *labels(b))):
        return a
    if not labels(a) or not labels(b):
        require_inner(a + b, "combines an inner axis with")
        raise Unsupported(f"combines axes of size {_words(a)} and {_words(b)}", "check the file.")
    raise Unsupported(
        f"combines an axis of {_words(a)} with one of {_words(b)}",
        "transpose one of them so that batch meets batch and time meets time.",
    )


def _words(axis: Axis) -> str:
    return " x ".join(str(atom) for atom in axis) or "size 1"


def regroup(axes: Axes, shape: tuple[int, ...], sizes: Sizes) -> Axes:
    """The axes after a reshape to `shape`; labels keep their place in row-major order.

    A label of size one may vanish (a frozen batch of one). A label that would have to be split is
    inner, or refused.
    """
    queue = _atoms(axes)
    grouped = tuple(_group(queue, wanted, sizes) for wanted in shape)
    if any(isinstance(atom, int) or sizes[atom] != 1 for atom in queue):
        raise Unsupported(
            f"reshapes to {list(shape)}, which has another number of elements", "check the file."
        )
    return grouped


def _atoms(axes: Axes) -> list[Atom]:
    """Every atom in row-major order, neighbouring inner sizes multiplied."""
    atoms: list[Atom] = []
    for atom in (atom for axis in axes for atom in axis if atom != 1):
        if isinstance(atom, int) and atoms and isinstance(atoms[-1], int):
            atoms[-1] *= atom
        else:
            atoms.append(atom)
    return atoms


def _group(queue: list[Atom], wanted: int, sizes: Sizes) -> Axis:
    """Take atoms off the queue until their product is `wanted`."""
    if wanted == 1:
        unit = bool(queue) and isinstance(queue[0], str) and sizes[queue[0]] == 1
        return (queue.pop(0),) if unit else (1,)
    group: list[Atom] = []
    while wanted > 1:
        if not queue:
            raise Unsupported("reshapes to another number of elements", "check the file.")
        atom = queue.pop(0)
        size = atom if isinstance(atom, int) else sizes[atom]
        if size == 1:
            continue
        if wanted % size:
            atom, size = _split(queue, atom, wanted, size)
        group.append(atom)
        wanted //= size
    return tuple(group)


def _split(queue: list[Atom], atom: Atom, wanted: int, size: int) -> tuple[Atom, int]:
    if isinstance(atom, str):
        require_inner((atom,), "splits")
        raise AssertionError("a label is never split")
    part = gcd(size, wanted)
    if part != wanted or part == 1:
        raise Unsupported("reshapes across inner axes that do not divide", "check the file.")
    queue.insert(0, size // part)
    return part, part
