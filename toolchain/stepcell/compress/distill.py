"""`distill`: a smaller or sparser student learns what a teacher answers and what its layers hold.

Labels are not needed: models whose training data is gone can be compressed on any real inputs. Needs torch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stepcell.compress.importance import Criterion
from stepcell.compress.units import remove_units
from stepcell.ir.model import Model
from stepcell.ir.sequences import Sequences

if TYPE_CHECKING:
    from rich.console import Console

    from stepcell.train import Epoch, Noise


def new_student(
    teacher: Model,
    units: int,
    criterion: str | Criterion = "magnitude",
    *,
    data: Sequences | None = None,
    seed: int = 0,
) -> Model:
    """A model like the teacher with `units` hidden units in every recurrent layer: those that matter most.

    With `data`, calibration sequences, it begins with what the removed units were worth folded in. The
    errors are those of `remove_units`.
    """
    return remove_units(teacher, criterion=criterion, width=units, data=data, seed=seed)


def distill(
    teacher: Model,
    student: Model,
    data: Sequences,
    validation: Sequences,
    *,
    hidden: float = 0.1,
    labels: float = 0.5,
    temperature: float = 2.0,
    classes: bool | None = None,
    epochs: int = 30,
    batch_size: int = 32,
    learning_rate: float = 5e-3,
    seed: int = 0,
    weight_decay: float = 0.0,
    noise: "Noise | None" = None,
    patience: int | None = None,
    device: str = "auto",
    console: "Console | None" = None,
    on_epoch: "Callable[[Epoch], None] | None" = None,
) -> Model:
    """Train the student, whose masks stay, to answer as the teacher does; the best epoch by validation loss.

    The loss is the distance of the answers, at every step where the model answers at every step, plus
    `hidden` times that of the hidden states (each student layer learns one of the teacher's, through a linear
    map of its own), plus `labels` times the loss of the labels where `data` has any. `temperature` softens
    classes; `classes` says that the first output is logits (by default: where a softmax, sigmoid or argmax
    ends it, or y holds classes). The rest is as in `train.fit`.

    Raises StepcellError for a student whose inputs or outputs are not the teacher's, and as `fit` does.
    """
    from stepcell.train import fit, from_module
    from stepcell.train.imitation import Imitation, Parts

    if classes is None:
        classes = data.y is not None and data.y.dtype.kind != "f"
    imitation = Imitation(student, teacher, Parts(1.0, hidden, labels), temperature, classes, seed)
    fit(
        imitation,
        data,
        validation,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        weight_decay=weight_decay,
        noise=noise,
        objective=imitation.loss,
        patience=patience,
        device=device,
        console=console,
        on_epoch=on_epoch,
    )
    return from_module(imitation.student, student)
