"""The parameters of the generated functions: every input and output by a C name of its own."""

from dataclasses import replace

from stepcell.ir.qfunctions import QEmbed
from stepcell.ir.qmodel import QFunction, QModel, QValue
from stepcell.lower.plan import Port

CTYPES = {8: "int8_t", 16: "int16_t", 32: "int32_t"}
PARAMETERS = ("s", "steps", "t")
"""Of the generated functions, beside their inputs and outputs."""
_MACROS = frozenset(
    f"{name}{suffix}"
    for name in (
        "STATE_BYTES",
        "STACK_BYTES",
        "STEP_INSTRUCTIONS",
        "MAX_STEPS",
        "MEMORY_STEPS",
        "H",
        "FLOAT_H",
        "WEIGHTS_H",
    )
    for suffix in ("", "_SCALE")
) | {"WEIGHTS_ATTR", "CODE_ATTR", "STATE_ATTR"}


def prefix_of(qmodel: QModel, function: QFunction) -> str:
    """What the C names of a function start with."""
    return qmodel.name if len(qmodel.functions) == 1 else f"{qmodel.name}_{function.name}"


def ports_of(function: QFunction) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """(inputs, outputs): a single input is called x, a single output y, several as in the model."""
    inputs, outputs = function.inputs, tuple(output.value for output in function.outputs)
    names = [*_names(inputs, "x"), *_names(outputs, "y")]
    taken: set[str] = set(PARAMETERS)
    macros: set[str] = set(_MACROS)
    ports = [
        _port(value, _free(name, taken), _free_macro(name.upper(), macros))
        for value, name in zip((*inputs, *outputs), names, strict=True)
    ]
    of_outputs = zip(ports[len(inputs) :], function.outputs, strict=True)
    of_inputs = (replace(port, tokens=token_count(function, port.source)) for port in ports[: len(inputs)])
    return tuple(of_inputs), tuple(
        replace(port, finished=output.finished, left_to_caller=output.left_to_caller)
        for port, output in of_outputs
    )


def token_count(function: QFunction, name: str) -> int | None:
    """How many tokens an input takes: rows of the smallest table that it indexes; None without one."""
    tables = (op.table for op in function.all_ops if isinstance(op, QEmbed) and op.token == name)
    return min((len(table) for table in tables), default=None)


def _names(values: tuple[QValue, ...], only: str) -> list[str]:
    return [only] if len(values) == 1 else [value.name for value in values]


def _port(value: QValue, name: str, macro: str) -> Port:
    token = value.dtype == "token"
    return Port(name, value.name, macro, CTYPES[value.bits], value.size, value.scale, token, value.zero_point)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _free_macro(macro: str, taken: set[str]) -> str:
    while macro in taken or f"{macro}_SCALE" in taken:
        macro += "_"
    taken |= {macro, f"{macro}_SCALE"}
    return macro
