"""Criteria that ask the loss: first-order Taylor, and movement while training. Need torch.

Data without labels is judged by the model's own answers. Its expected answer would give no gradient at all,
since there the loss is smallest; so labels are drawn from what it answers (seeded), as for the Fisher
information. Float targets are its outputs plus normal noise.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stepcell.compress.importance import Scores, needed
from stepcell.ir.graph import matrices
from stepcell.ir.model import FloatArray, Model, all_ops
from stepcell.ir.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor

    from stepcell.train import StepModule

BATCH = 32
"""Sequences whose gradients are averaged before their magnitude is taken."""


def taylor(model: Model, data: Sequences | None = None) -> Scores:
    """Mean over batches of |w dL/dw|: how much the loss changes, to first order, if w becomes 0.

    Molchanov et al. 2017, "Pruning convolutional neural networks for resource efficient inference", arXiv
    1611.06440. Raises StepcellError without data, and for models that cannot be trained.
    """
    import torch

    from stepcell.train import to_module
    from stepcell.train.evaluate import labels, predict
    from stepcell.train.losses import task_loss

    module, data = to_module(model), with_answers(model, needed(data, "taylor"), seed=0)
    weights = {name: module.parameter(name) for name in _names(model)}
    sums = {name: torch.zeros_like(w) for name, w in weights.items()}
    for start in range(0, len(data), BATCH):
        batch = data.take(np.arange(start, min(start + BATCH, len(data))))
        answers = predict(module, batch, batch.y_per_step)
        loss = task_loss(answers, labels(batch))
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        for (name, w), gradient in zip(weights.items(), gradients, strict=True):
            if gradient is not None:
                sums[name] += (w.detach() * gradient).abs() * len(batch.x)
    return {name: s.double().numpy() / len(data) for name, s in sums.items()}


def movement(model: Model, data: Sequences | None = None) -> Scores:
    """`Movement` over five epochs of training a copy at a rate of 1e-3. Raises StepcellError without data."""
    from stepcell.train import fit, to_module

    data = with_answers(model, needed(data, "movement"), seed=0)
    module = to_module(model)
    moved = Movement(module, model)
    fit(module, data, data, epochs=5, learning_rate=1e-3, seed=0)
    return moved(model)


class Movement:
    """A criterion that watches a module train: the sum over steps of -w dL/dw, large where w grows.

    Sanh et al. 2020, "Movement pruning", arXiv 2005.07683. Build it before training begins, train in any
    loop that calls backward(), and pass it as `criterion`. Before the first step magnitude decides.
    """

    def __init__(self, module: "StepModule", model: Model) -> None:
        self._parameters = {name: module.parameter(name) for name in _names(model)}
        self._sums = {name: np.zeros(tuple(p.shape)) for name, p in self._parameters.items()}
        for name, parameter in self._parameters.items():
            parameter.register_hook(lambda gradient, name=name: self._watch(name, gradient))

    def __call__(self, model: Model, data: Sequences | None = None) -> Scores:
        """The scores up to now; of `model` the weights break ties."""
        del data
        tie = {name: np.abs(model.weights[name]) for name in self._sums}
        return {name: s + 1e-9 * tie[name] for name, s in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """What has been seen, for checkpoints."""
        import torch

        return {name: torch.from_numpy(s.copy()) for name, s in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._sums = {name: s.numpy().copy() for name, s in state.items()}

    def _watch(self, name: str, gradient: "Tensor") -> None:
        moved = (self._parameters[name].detach() * gradient).double().cpu().numpy()
        self._sums[name] -= moved


def with_answers(model: Model, data: Sequences, seed: int) -> Sequences:
    """The data with its own labels; without any, with labels drawn from what the model answers."""
    if data.y is not None:
        return data
    from stepcell.train import to_module
    from stepcell.train.evaluate import predict

    module = to_module(model)
    per_step = model.main.finish is None or model.main.outputs[0] not in model.main.finish.outputs
    rows = predict(module, data, per_step).detach().double().numpy()
    drawn = _drawn(rows, np.random.default_rng(seed), _are_classes(model))
    return replace(data, y=_placed(drawn, data, per_step))


def _are_classes(model: Model) -> bool:
    """Whether the first output is a softmax or sigmoid, or logits: anything that is not plainly a number."""
    ends = {op.y.name: op for op in all_ops(model) if hasattr(op, "y")}
    op = ends.get(model.main.outputs[0])
    return getattr(op, "function", "softmax") in ("softmax", "log_softmax", "sigmoid")


def _drawn(logits: FloatArray, random: np.random.Generator, classes: bool) -> Any:
    """A label for each row [M, C] of logits, or a target [M, C]."""
    if not classes:
        return (logits + random.standard_normal(logits.shape)).astype(np.float32)
    if logits.shape[1] == 1:
        return (random.random(len(logits)) < 1.0 / (1.0 + np.exp(-logits[:, 0]))).astype(np.int64)
    noisy = logits + random.gumbel(size=logits.shape)
    return noisy.argmax(axis=1)


def _placed(drawn: Any, data: Sequences, per_step: bool) -> Any:
    """Rows of valid steps back in their places [N, T], or as they are, one a sequence."""
    if not per_step:
        return drawn
    lengths, steps = data.lengths // data.frames_per_step, data.x.shape[1] // data.frames_per_step
    y = np.zeros((len(data), steps, *drawn.shape[1:]), drawn.dtype)
    y[np.arange(steps) < lengths[:, None]] = drawn
    return y


def _names(model: Model) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for op in all_ops(model) for name in matrices(op)))
