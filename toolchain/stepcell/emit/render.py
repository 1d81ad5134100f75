"""Jinja templates to C text. The templates hold glue; every value comes finished from the Plan."""

from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from stepcell import __version__
from stepcell.emit import prototypes
from stepcell.ir.qmodel import NUMERICS_VERSION
from stepcell.lower.parts import C_BYTES, Table
from stepcell.lower.plan import Plan

RUNTIME_VERSION = 1
LINE_WIDTH = 100


def render(template: str, plan: Plan) -> str:
    """The text of one generated file."""
    return (
        _environment()
        .get_template(template)
        .render(
            plan=plan,
            upper=plan.name.upper(),
            guard=plan.name.upper(),
            version=__version__,
            runtime_version=RUNTIME_VERSION,
            numerics_version=NUMERICS_VERSION,
            c=prototypes,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("stepcell.emit"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(
        c_float=c_float,
        c_reciprocal=lambda scale: c_float(1.0 / scale),
        c_shift=c_shift,
        c_word=c_word,
        c_rows=c_rows,
        c_bits=lambda ctype: 8 * C_BYTES[ctype],
    )
    return environment


def c_float(value: float) -> str:
    """A float literal that reads back as the nearest float32."""
    text = f"{np.float32(value):.9g}"
    return (text if any(c in text for c in ".en") else text + ".0") + "f"


def c_shift(shift: int) -> str:
    """An initializer of sc_shift: half of 2^shift, and shift."""
    return f"{{{(1 << shift) >> 1}, {shift}}}"


def c_word(value: int) -> str:
    """A uint32_t literal."""
    return f"0x{int(value) & 0xFFFFFFFF:08x}u"


def c_rows(table: Table) -> str:
    """The numbers of a table, in lines of at most LINE_WIDTH columns."""
    if table.ctype == "uint32_t":
        items = [c_word(int(value)) for value in table.values]
    else:
        items = [str(int(value)) for value in table.values]
    lines: list[str] = []
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > LINE_WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join([*lines, line])
