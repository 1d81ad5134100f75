"""Training between and after passes: one `train.fit`, with the same settings for all. Needs torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stepcell.ir.model import Model
from stepcell.ir.sequences import Sequences

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from stepcell.train import Epoch, Noise, StepModule, Teacher
    from stepcell.train.checkpoint import Stateful
    from stepcell.train.evaluate import Objective


@dataclass(frozen=True, eq=False)
class Training:
    """Data, and the settings of `train.fit`; `teacher`, the dense model, has the weight `distill` (0-1)."""

    data: Sequences
    validation: Sequences
    teacher: Model
    epochs: int
    seed: int = 0
    learning_rate: float = 2e-2
    batch_size: int = 32
    weight_decay: float = 1e-2
    noise: "Noise | None" = None
    distill: float = 0.5
    patience: int | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    console: "Console | None" = None
    on_epoch: "Callable[[Epoch], None] | None" = None
    loss: "Callable[[Tensor, Tensor], Tensor] | None" = None
    """(judged rows [M, O], labels) -> a scalar, in place of the usual one of `train.fit`."""

    def part(self, name: str, epochs: int) -> "Training":
        """One of several trainings after each other, with a checkpoint of its own."""
        path = self.checkpoint
        path = None if path is None else path.with_name(f"{path.stem}.{name}{path.suffix}")
        return replace(self, epochs=epochs, checkpoint=path)


def trained(
    model: Model,
    training: Training,
    *,
    module: "StepModule | None" = None,
    select_from: int = 0,
    penalty: "Callable[[], Tensor] | None" = None,
    watching: "Mapping[str, Stateful] | None" = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Model:
    """The model with the weights and masks of the best epoch; `module`: its own, if something watches that.

    Distillation is left out for float targets. Raises StepcellError as `train.fit` does.
    """
    from stepcell.train import Noise, Teacher, fit, from_module, to_module

    module = to_module(model) if module is None else module
    y, noise = training.data.y, training.noise
    is_taught = training.distill > 0 and y is not None and y.dtype.kind != "f"
    teacher = Teacher(to_module(training.teacher), training.distill) if is_taught else None
    fit(
        module,
        training.data,
        training.validation,
        epochs=training.epochs,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        seed=training.seed,
        weight_decay=training.weight_decay,
        noise=Noise() if noise is None else noise,
        teacher=teacher,
        objective=None if training.loss is None else _objective(module, training.loss, teacher),
        select_from=select_from,
        patience=training.patience,
        penalty=penalty,
        checkpoint=training.checkpoint,
        watching=watching,
        device=training.device,
        console=training.console,
        on_epoch=training.on_epoch,
        on_step=on_step,
    )
    return from_module(module, model)


def _objective(
    module: "StepModule", loss: "Callable[[Tensor, Tensor], Tensor]", teacher: "Teacher | None"
) -> "Objective":
    """A user's loss, blended with a teacher's answers as the usual one is."""
    from stepcell.train.evaluate import labels, predict

    def of(clean: Sequences, noisy: Sequences) -> "Tensor":
        answers = predict(module, noisy, clean.y_per_step)
        own = loss(answers, labels(clean).to(answers.device))
        return own if teacher is None else teacher.blend(own, answers, clean)

    return of
