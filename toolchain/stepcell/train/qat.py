"""`fit_quantized`: training on the numbers that the chip will compute (train/quantized.py)."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from stepcell.ir.model import Model
from stepcell.ir.sequences import Sequences
from stepcell.quantize import settle
from stepcell.quantize.context import Activations, Weights
from stepcell.train.distillation import Teacher
from stepcell.train.imitation import Imitation, Parts
from stepcell.train.loop import Epoch, fit
from stepcell.train.module import from_module, to_module
from stepcell.train.noise import Noise
from stepcell.train.quantized import to_quantized_module

if TYPE_CHECKING:
    from rich.console import Console


def fit_quantized(
    model: Model,
    train: Sequences,
    validation: Sequences,
    *,
    weights: Weights = "int8",
    activations: Activations = "auto",
    calibration: Sequences | None = None,
    percentile: float = 100.0,
    epochs: int = 5,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    weight_decay: float = 0.0,
    noise: Noise | None = None,
    distill: float = 0.5,
    patience: int | None = None,
    device: str = "auto",
    console: "Console | None" = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Model:
    """Train a trained model on as integers compute it; masks stay, so that pruned models stay pruned.

    The epoch with the lowest validation loss is kept, the loss of the integer network: ranges are calibrated
    on `calibration` (by default the training data) before each validation, so that compiling the result with
    the same calibration data, weights and activations gives exactly the network that was validated.
    `distill` (0-1) is the weight of the float model's own answers in the loss; for float targets it is left
    out, and for data without labels they are all there is. The rest is as in `train.fit`, `quantize` and
    `to_quantized_module`, and so are the errors.
    """
    data = train if calibration is None else calibration
    module = to_quantized_module(
        model, lambda trained: settle(trained, data, activations, percentile, weights)
    )
    steps_per_epoch = math.ceil(len(train) / batch_size)
    classes = train.y is not None and train.y.dtype.kind != "f"
    alone = Imitation(model, model, Parts(1.0, 0.0, 0.0), 2.0, module=module) if train.y is None else None
    fit(
        module if alone is None else alone,
        train,
        validation,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        weight_decay=weight_decay,
        noise=noise,
        teacher=Teacher(to_module(model), distill) if distill and classes else None,
        objective=None if alone is None else alone.loss,
        patience=patience,
        device=device,
        console=console,
        on_epoch=on_epoch,
        on_step=lambda step, _: module.recalibrate() if step % steps_per_epoch == 0 else None,
    )
    return from_module(module, model)
