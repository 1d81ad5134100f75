"""Recipes: a TOML file whose [[pass]] tables say, in order, how a model is compressed.

The key that a table has out of `KINDS` says which pass it is; a key means the same in every pass.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NoReturn

from stepcell.compress.recipe_values import CHECKS, SCHEDULES, Schedule, Wrong
from stepcell.errors import StepcellError


@dataclass(frozen=True)
class Prune:
    """`prune = CRITERION`: the fraction of the weights with the lowest scores becomes zero."""

    prune: str
    fraction: float | None = None
    pattern: str | None = None
    """None: the block that the target runs best."""
    scope: Literal["global", "matrix", "rows"] = "global"
    gates: Mapping[str, float] | None = None
    keep_diagonal: bool = False
    matrices: tuple[str, ...] | None = None
    schedule: Schedule | None = None
    """None: without training."""
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    weight_decay: float | None = None
    distill: float | None = None
    noise: Mapping[str, float] | None = None
    ramp: float | None = None
    lasso: float | None = None
    patience: int | None = None


@dataclass(frozen=True)
class Units:
    """`units = N`, how many stay in every layer, or the fraction to remove: the model gets truly smaller."""

    units: int | float
    criterion: str = "magnitude"
    layers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RemoveLayer:
    """`remove_layer = NAME`: the recurrent operation of that result leaves the model."""

    remove_layer: str


@dataclass(frozen=True)
class LowRank:
    """`low_rank = RANK`, or the share of each matrix's bytes to remove: matrices as products of thin ones."""

    low_rank: int | float
    matrices: tuple[str, ...] | None = None
    share_projections: bool = False


@dataclass(frozen=True)
class Kronecker:
    """`kronecker = TERMS`: recurrent matrices as so many Kronecker products, and blocks of what they miss."""

    kronecker: int
    doping: float = 0.05
    pattern: str = "4x1"
    matrices: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Share:
    """`share = MOST`: layers of a kind and shape have one matrix where its sums err by no larger a share."""

    share: float


@dataclass(frozen=True)
class Train:
    """`train = EPOCHS`: all that is left learns on; the model that the recipe began with teaches."""

    train: int
    learning_rate: float = 5e-3
    batch_size: int = 32
    weight_decay: float = 1e-2
    distill: float = 0.5
    noise: Mapping[str, float] | None = None
    patience: int | None = None


@dataclass(frozen=True)
class Quantize:
    """`quantize = {...}`: the integers that the table measures from here on, and that C is to be made of."""

    weights: Literal["int8", "int4", "auto"] = "int8"
    activations: Literal["auto", "int8", "int16", "int16-states"] = "auto"
    calibrator: Literal["minmax", "percentile", "mse", "entropy"] = "minmax"
    percentile: float = 100.0
    bias_correction: bool = False
    rounding: Literal["nearest", "data"] = "nearest"


@dataclass(frozen=True)
class Qat:
    """`qat = EPOCHS`: training on the integers that the chip computes with, which are those from here on."""

    qat: int
    weights: Literal["int8", "int4"] = "int8"
    activations: Literal["auto", "int8", "int16", "int16-states"] = "auto"
    percentile: float = 100.0
    learning_rate: float = 1e-3
    batch_size: int = 64
    weight_decay: float = 0.0
    distill: float = 0.5
    noise: Mapping[str, float] | None = None

    @property
    def integers(self) -> Quantize:
        """What was trained for."""
        return Quantize(self.weights, self.activations, percentile=self.percentile)


@dataclass(frozen=True)
class Distill:
    """`distill = EPOCHS`: what is left learns the answers and hidden states of the recipe's first model.

    In passes of another kind `distill` is the weight of the answers alone in the loss.
    """

    distill: int
    hidden: float = 0.1
    labels: float = 0.5
    temperature: float = 2.0
    learning_rate: float = 5e-3
    batch_size: int = 32
    weight_decay: float = 0.0
    noise: Mapping[str, float] | None = None
    patience: int | None = None


Pass = Prune | Units | RemoveLayer | LowRank | Kronecker | Share | Train | Distill | Qat | Quantize

_OF_TRAINING = (
    "epochs",
    "learning_rate",
    "batch_size",
    "weight_decay",
    "distill",
    "noise",
    "ramp",
    "lasso",
    "patience",
)

KINDS: Mapping[str, type[Pass]] = {
    "prune": Prune,
    "units": Units,
    "remove_layer": RemoveLayer,
    "low_rank": LowRank,
    "kronecker": Kronecker,
    "share": Share,
    "train": Train,
    "qat": Qat,
    "quantize": Quantize,
    "distill": Distill,
}


@dataclass(frozen=True)
class Recipe:
    """The passes in order; `text` is the file as it was."""

    passes: tuple[Pass, ...]
    text: str


def read_recipe(file: Path) -> Recipe:
    """The recipe in a TOML file.

    Raises StepcellError for anything that is not known, with the closest name that is.
    """
    if not file.is_file():
        raise StepcellError(f"{file}: there is no such file.", "a recipe is TOML: [[pass]] tables in order.")
    return parse_recipe(file.read_text(), file.name)


def parse_recipe(text: str, name: str = "recipe") -> Recipe:
    """The recipe in a text; `name` says in errors where it stands."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StepcellError(f"{name}: this is no TOML ({error}).", "see docs/compression.md.") from error
    unknown = next((key for key in data if key != "pass"), None)
    if unknown is not None:
        raise StepcellError(
            f"{name}: '{unknown}' stands outside of the passes.",
            "a recipe has [[pass]] tables and nothing else.",
        )
    tables = data.get("pass")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise StepcellError(
            f"{name}: it has no [[pass]] table.", 'write [[pass]] and below it prune = "magnitude".'
        )
    passes = tuple(_pass(f"{name}, pass {number}", table) for number, table in enumerate(tables, 1))
    return Recipe(passes, text)


def _pass(where: str, table: Mapping[str, Any]) -> Pass:
    named = [kind for kind in KINDS if kind in table]
    if len(named) > 1 and "distill" in named:
        named.remove("distill")  # it is the weight of a teacher there
    if len(named) != 1:
        found = " and ".join(named) if named else ", ".join(table) or "nothing"
        key = next(iter(table), "")
        raise StepcellError(
            f"{where}: it says {found}, and has to say one of {', '.join(KINDS)}.",
            _closest(key, KINDS) if not named else "make it one [[pass]] each.",
        )
    (name,) = named
    kind = KINDS[name]
    if kind is Quantize:
        if not isinstance(table[name], dict):
            _refuse(where, name, table[name], 'a table such as {weights = "int4"}')
        outside = next((key for key in table if key != name), None)
        if outside is not None:
            _unknown(where, name, outside, (name,))
        table = table[name]
    values = _values(where, name, table, tuple(field.name for field in fields(kind)))
    if "prune" in values and "schedule" not in values:
        training = next((key for key in values if key in _OF_TRAINING), None)
        if training is not None:
            raise StepcellError(
                f"{where}: {training} belongs to training, and the pass has no schedule.",
                f"add schedule = one of {', '.join(SCHEDULES)}, or leave {training} out.",
            )
    if values.get("rounding") == "data" and values.get("weights") == "auto":
        _refuse(where, "weights", "auto", "int8 or int4 where the data rounds them")
    return kind(**values)


def _values(where: str, kind: str, table: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    values = {}
    for key, value in table.items():
        if key not in known:
            _unknown(where, kind, key, known)
        try:
            values[key] = CHECKS["epochs" if key == kind == "distill" else key](value)
        except Wrong as wanted:
            _refuse(where, key, value, str(wanted))
    return values


def _unknown(where: str, kind: str, key: str, known: tuple[str, ...]) -> NoReturn:
    raise StepcellError(f"{where}: {kind} knows no '{key}'.", _closest(key, known))


def _refuse(where: str, key: str, value: object, wanted: str) -> NoReturn:
    raise StepcellError(f"{where}: {key} is {value!r}, and has to be {wanted}.", f"write {key} as {wanted}.")


def _closest(key: str, known: "Mapping[str, Any] | tuple[str, ...]") -> str:
    close = get_close_matches(key, list(known), 1)
    return f"did you mean '{close[0]}'?" if close else f"it knows {', '.join(known)}."
