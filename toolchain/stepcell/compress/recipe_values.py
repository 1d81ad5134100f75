"""What the values of a recipe's keys may be: a check a key gives the value, or says what it has to be."""

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args

from stepcell.compress.criteria import CRITERIA, SECOND_ORDER
from stepcell.compress.pattern import parse_pattern
from stepcell.errors import StepcellError

Schedule = Literal["gradual", "one-shot", "lottery", "lasso"]
SCHEDULES = get_args(Schedule)


class Wrong(Exception):
    """What a value has to be."""


Check = Callable[[Any], Any]


def _number(wanted: str, low: float, high: float) -> Check:
    """A number between the limits, themselves left out."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
            raise Wrong(wanted)
        return float(value)

    return check


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Wrong("a whole number from 1 on")
    return value


def _size(value: Any) -> int | float:
    """So many, or a share of what is there."""
    if isinstance(value, float) and 0.0 < value < 1.0:
        return value
    try:
        return _whole(value)
    except Wrong:
        raise Wrong("a whole number from 1 on, or a fraction between 0 and 1") from None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong("true or false")
    return value


def _one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if value not in allowed:
            close = get_close_matches(str(value), allowed, 1)
            raise Wrong(f"one of {', '.join(allowed)}" + (f" (did you mean {close[0]}?)" if close else ""))
        return str(value)

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Wrong("a text")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise Wrong('a list of names, such as ["gru1_R"]')
    return tuple(value)


def _shares(value: Any) -> dict[str, float]:
    wanted = "a table of kept fractions by gate, such as {i = 0.1, f = 0.3}"
    if not isinstance(value, dict) or not value:
        raise Wrong(wanted)
    return {gate: _number(wanted, 0.0, 1.0)(share) for gate, share in value.items()}


def _criterion(value: Any) -> str:
    return str(_one_of(*CRITERIA, SECOND_ORDER)(value))


def _pattern(value: Any) -> str:
    try:
        parse_pattern(_text(value))
    except StepcellError as error:
        raise Wrong(f"a pattern: {error.hint.rstrip('.')}") from error
    return str(value)


def _noise(value: Any) -> dict[str, float]:
    wanted = "a table of standard deviations, such as {frame = 0.3, sequence = 0.2}"
    if not isinstance(value, dict) or not set(value) <= {"frame", "sequence"}:
        raise Wrong(wanted)
    return {key: _number(wanted, -1e-9, math.inf)(deviation) for key, deviation in value.items()}


_WEIGHT = _number("a weight in the loss, from 0 on", -1e-9, math.inf)
_POSITIVE = _number("a number above 0", 0.0, math.inf)
CHECKS: Mapping[str, Check] = {
    "prune": _criterion,
    "criterion": _criterion,
    "fraction": _number("the share to remove, between 0 and 1", 0.0, 1.0),
    "pattern": _pattern,
    "scope": _one_of("global", "matrix", "rows"),
    "gates": _shares,
    "keep_diagonal": _flag,
    "matrices": _names,
    "layers": _names,
    "schedule": _one_of(*SCHEDULES),
    "epochs": _whole,
    "learning_rate": _POSITIVE,
    "batch_size": _whole,
    "weight_decay": _number("a number from 0 on", -1e-9, math.inf),
    "distill": _number("the weight of the teacher's answers, from 0 to 1", -1e-9, 1.0 + 1e-9),
    "hidden": _WEIGHT,
    "labels": _WEIGHT,
    "temperature": _POSITIVE,
    "noise": _noise,
    "ramp": _number("the share of the epochs that prune, between 0 and 1", 0.0, 1.0),
    "lasso": _POSITIVE,
    "patience": _whole,
    "units": _size,
    "remove_layer": _text,
    "low_rank": _size,
    "share_projections": _flag,
    "kronecker": _whole,
    "doping": _number("a share from 0 to below 1", -1e-9, 1.0),
    "share": _POSITIVE,
    "train": _whole,
    "qat": _whole,
    "weights": _one_of("int8", "int4", "auto"),
    "activations": _one_of("auto", "int8", "int16", "int16-states"),
    "calibrator": _one_of("minmax", "percentile", "mse", "entropy"),
    "percentile": _number("a number above 50, up to 100", 50.0, 100.0 + 1e-9),
    "bias_correction": _flag,
    "rounding": _one_of("nearest", "data"),
}
