"""`run_pass`: one pass of a recipe on a Model. Passes that train need torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepcell.compress.distill import distill
from stepcell.compress.prune import prune
from stepcell.compress.recipe import (
    Distill,
    Kronecker,
    LowRank,
    Pass,
    Prune,
    Qat,
    Quantize,
    RemoveLayer,
    Share,
    Train,
    Units,
)
from stepcell.compress.remove_layer import remove_layer
from stepcell.compress.restructure import kronecker, low_rank, share
from stepcell.compress.retrain import prune_and_retrain
from stepcell.compress.rounding import round_to_data
from stepcell.compress.task import Task
from stepcell.compress.training import Training, trained
from stepcell.compress.units import remove_units
from stepcell.errors import StepcellError
from stepcell.ir.model import Block, Model
from stepcell.ir.sequences import Sequences

if TYPE_CHECKING:
    from rich.console import Console

    from stepcell.train import Noise


@dataclass(frozen=True, eq=False)
class Setting:
    """What passes need besides the model.

    calibration: what scales come from. source: what the recipe began with, which teaches. block: what the
    target runs best, for passes that name no pattern. checkpoint: where a pass that trains keeps its state.
    console: shows progress bars.
    """

    task: Task
    calibration: Sequences
    source: Model
    block: Block
    seed: int = 0
    checkpoint: Path | None = None
    console: "Console | None" = None


def run_pass(model: Model, step: Pass, setting: Setting) -> Model:
    """The model after the pass; StepcellError as the pass raises it."""
    data = setting.task.train
    match step:
        case Prune(schedule=None):
            pattern = step.pattern or setting.block
            return prune(model, step.fraction, step.prune, pattern, data=data, **_where(step, setting))
        case Prune():
            return _prune_and_retrain(model, step, setting)
        case Units():
            return _narrowed(model, step, setting)
        case RemoveLayer():
            return remove_layer(model, step.remove_layer)
        case LowRank() | Kronecker() | Share():
            return _restructured(model, step, setting)
        case Train():
            return trained(model, _training(step, setting))
        case Distill():
            return _distilled(model, step, setting)
        case Qat():
            return _quantized(model, step, setting)
        case Quantize():
            return _rounded(model, step, setting)


def describe(step: Pass) -> str:  # noqa: C901  # one short case a pass
    """A pass in a few words, for the table."""
    match step:
        case Prune():
            fraction = "" if step.fraction is None else f"{step.fraction:.0%}"
            return " ".join(
                word for word in ("prune", step.prune, fraction, step.pattern, step.schedule) if word
            )
        case Units():
            return f"units {step.units}"
        case RemoveLayer():
            return f"remove {step.remove_layer}"
        case LowRank():
            return f"low rank {step.low_rank}"
        case Kronecker():
            return f"kronecker {step.kronecker} terms, {step.doping:.0%} left"
        case Share():
            return f"share matrices within {step.share:g}"
        case Train():
            return f"train {step.train} epochs"
        case Distill():
            return f"distill {step.distill} epochs"
        case Qat():
            return f"train {step.qat} epochs in integers"
        case Quantize():
            return f"quantize {step.weights}"


def _where(step: Prune, setting: Setting) -> dict[str, Any]:
    return {
        "scope": step.scope,
        "gates": step.gates,
        "keep_diagonal": step.keep_diagonal,
        "matrices": step.matrices,
        "seed": setting.seed,
    }


def _prune_and_retrain(model: Model, step: Prune, setting: Setting) -> Model:
    """What the recipe leaves out is as `prune_and_retrain` has it."""
    given: dict[str, Any] = {
        "epochs": step.epochs,
        "learning_rate": step.learning_rate,
        "batch_size": step.batch_size,
        "weight_decay": step.weight_decay,
        "distill": step.distill,
        "noise": _noise(step.noise),
        "ramp": step.ramp,
        "lasso": step.lasso,
        "patience": step.patience,
    }
    assert step.schedule is not None
    return prune_and_retrain(
        model,
        setting.task.train,
        setting.task.validation,
        step.fraction,
        step.pattern or setting.block,
        schedule=step.schedule,
        criterion=step.prune,
        loss=setting.task.loss,
        checkpoint=setting.checkpoint,
        console=setting.console,
        **_where(step, setting),
        **{key: value for key, value in given.items() if value is not None},
    )


def _narrowed(model: Model, step: Units, setting: Setting) -> Model:
    """A whole number is how many units stay, another the fraction that goes."""
    size = {"width": step.units} if isinstance(step.units, int) else {"fraction": step.units}
    more = {"data": setting.task.train, "layers": step.layers, "seed": setting.seed}
    return remove_units(model, criterion=step.criterion, **size, **more)  # type: ignore[arg-type]


def _restructured(model: Model, step: LowRank | Kronecker | Share, setting: Setting) -> Model:
    """A whole number is a rank, another the fraction that goes."""
    data = setting.calibration
    match step:
        case LowRank():
            size = {"rank": step.low_rank} if isinstance(step.low_rank, int) else {"fraction": step.low_rank}
            more = {"matrices": step.matrices, "share_projections": step.share_projections}
            return low_rank(model, data=data, **size, **more)  # type: ignore[arg-type]
        case Kronecker():
            kept = {"doping": step.doping, "pattern": step.pattern, "matrices": step.matrices}
            return kronecker(model, terms=step.kronecker, **kept)  # type: ignore[arg-type]
        case Share():
            return share(model, data=data, most=step.share)


def _rounded(model: Model, step: Quantize, setting: Setting) -> Model:
    """Integers are made when the model is judged and compiled; only rounding by the data moves weights."""
    if step.rounding == "nearest" or step.weights == "auto":
        return model
    return round_to_data(model, setting.calibration, step.weights)


def _training(step: Train, setting: Setting) -> Training:
    return Training(
        setting.task.train,
        setting.task.validation,
        setting.source,
        epochs=step.train,
        seed=setting.seed,
        learning_rate=step.learning_rate,
        batch_size=step.batch_size,
        weight_decay=step.weight_decay,
        noise=_noise(step.noise),
        distill=step.distill,
        patience=step.patience,
        checkpoint=setting.checkpoint,
        console=setting.console,
        loss=setting.task.loss,
    )


def _refuse_loss(task: Task) -> None:
    if task.loss is not None:
        raise StepcellError(
            f"the task '{task.name}' brings its own loss, which only prune and train take.",
            "use another pass, or leave loss out of the task.",
        )


def _distilled(model: Model, step: Distill, setting: Setting) -> Model:
    _refuse_loss(setting.task)
    return distill(
        setting.source,
        model,
        setting.task.train,
        setting.task.validation,
        hidden=step.hidden,
        labels=step.labels,
        temperature=step.temperature,
        epochs=step.distill,
        batch_size=step.batch_size,
        learning_rate=step.learning_rate,
        seed=setting.seed,
        weight_decay=step.weight_decay,
        noise=_noise(step.noise),
        patience=step.patience,
        console=setting.console,
    )


def _quantized(model: Model, step: Qat, setting: Setting) -> Model:
    from stepcell.train.qat import fit_quantized

    _refuse_loss(setting.task)
    return fit_quantized(
        model,
        setting.task.train,
        setting.task.validation,
        weights=step.weights,
        activations=step.activations,
        calibration=setting.calibration,
        percentile=step.percentile,
        epochs=step.qat,
        batch_size=step.batch_size,
        learning_rate=step.learning_rate,
        seed=setting.seed,
        weight_decay=step.weight_decay,
        noise=_noise(step.noise),
        distill=step.distill,
    )


def _noise(deviations: Any) -> "Noise | None":
    """What the recipe says; None for the usual."""
    if deviations is None:
        return None
    from stepcell.train import Noise

    return Noise(**{"frame": 0.0, "sequence": 0.0} | dict(deviations))
