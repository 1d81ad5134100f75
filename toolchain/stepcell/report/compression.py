"""What every pass of a recipe did to a model: one line each, for a table, a log and programs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table

from stepcell.ir.graph import matrices as matrices_of
from stepcell.ir.model import Model, recurrent_ops


@dataclass(frozen=True)
class Line:
    """A model after a pass, judged on a split of the data (None: nothing tells).

    number: of the pass, 0 for the source; density: kept fraction of the recurrent layers' weights; bits: of
    those weights; floats and integers: the task's numbers of the float model and of the quantized one;
    label_agreement: of the quantized one with the float source, 0-1; bytes and instructions: `TargetCost`.
    """

    number: int
    what: str
    split: str
    density: float
    bits: str
    floats: dict[str, float]
    integers: dict[str, float]
    label_agreement: float
    weight_bytes: int
    rodata_bytes: int | None
    flash_bytes: int | None
    instructions_per_step: int | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def density(model: Model) -> float:
    """Kept fraction of the input and recurrent matrices of all recurrent operations; 1 without any."""
    names = {name for op in recurrent_ops(model) for name in matrices_of(op)}
    sizes = {name: model.weights[name].size for name in names}
    kept = sum(int(model.masks[n].keep.sum()) if n in model.masks else sizes[n] for n in names)
    return kept / max(sum(sizes.values()), 1) if names else 1.0


def compression_table(lines: Iterable[Line], target: str) -> Table:
    """One row a line: the first number as float and in integers, the others in integers, the cost."""
    lines = list(lines)
    names = list(lines[0].integers)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    table.add_column("pass", no_wrap=True)
    headings = ("kept", "bits", *_headings(names), "agree-\nment", "weight\nbytes", "flash\nbytes")
    for name in (*headings, "instr.\na step"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*_row(line, names), end_section=line.number == 0)
    table.caption = f"On validation data, but for the last line; agreement is with the source. Of {target}."
    return table


def _headings(names: list[str]) -> list[str]:
    """The first number stands there twice."""
    return [
        *(f"{name}\n{kind}" for name in names[:1] for kind in ("float", "integer")),
        *(name.replace("_", "\n") for name in names[1:]),
    ]


def _row(line: Line, names: list[str]) -> list[str]:
    first = [_number(name, line.floats[name]) for name in names[:1]]
    costs = (line.weight_bytes, line.flash_bytes, line.instructions_per_step)
    return [
        line.what if line.split == "validation" else f"{line.what}, {line.split}",
        f"{line.density:.3f}",
        line.bits.removeprefix("int"),
        *first,
        *(_number(name, line.integers[name]) for name in names),
        f"{line.label_agreement:.1%}",
        *("-" if cost is None else f"{cost:,}" for cost in costs),
    ]


def _number(name: str, value: float) -> str:
    return f"{value:.1%}" if name in ("accuracy", "macro_precision") else f"{value:.4g}"
