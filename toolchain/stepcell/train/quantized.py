"""The module of quantization-aware training: it computes what the chip computes, to the bit.

The integer reference, which proves the C, runs every batch. Its numbers replace those of the float network at
every step, and the float network, with the weights that the integers stand for, only says where the gradients
go: straight through what rounds and saturates. So the accuracy in training is the accuracy of the C.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stepcell.errors import StepcellError
from stepcell.ir.graph import writes
from stepcell.ir.model import FloatArray, Model, all_ops
from stepcell.ir.qmodel import IntArray, QModel, QValue, q_writes
from stepcell.quantize import Settled, quantize_settled
from stepcell.quantize.stored import stored_matrices
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_ops import quantize_input
from stepcell.train.module import Inputs, StepModule
from stepcell.train.operations import Values
from stepcell.train.stages import Batch
from stepcell.train.straight_through import straight_through
from stepcell.train.trainable import verify_trainable
from stepcell.train.weights import to_array

Settle = Callable[[Model], Settled]
"""Calibrates a model with the weights that it has."""


def to_quantized_module(model: Model, settle: Settle) -> "QuantizedModule":
    """Build the module that computes what the integer model of `model` does; `settle` is called at once.

    Raises StepcellError for what cannot be trained or quantized, by name.
    """
    if model.quantized:
        raise StepcellError(
            f"{model.name}: it computes with the integers of its source, whose scales training would leave.",
            "train the float model that the source was made of.",
        )
    return QuantizedModule(verify_trainable(model), settle)


class QuantizedModule(StepModule):
    """A StepModule whose outputs are those of the integer reference, times their scales, at every call."""

    def __init__(self, model: Model, settle: Settle) -> None:
        super().__init__(model, "scan")
        self._model, self._settle = model, settle
        self._settled = settle(model)

    def recalibrate(self) -> None:
        """Settle ranges and formats anew, from the weights as they are."""
        self._settled = self._settle(self._as_model())

    def quantized(self) -> QModel:
        """The integer model of the weights as they are; StepcellError where a sum could overflow."""
        return quantize_settled(self._as_model(), self._settled)

    def _as_model(self) -> Model:
        weights = {name: to_array(weight) for name, weight in self.weights().items()}
        return self._model.with_weights(weights, self.get_masks())

    def _begin(self, x: Inputs, lengths: Tensor | None) -> tuple[Values, Batch]:
        weights, batch = super()._begin(x, lengths)
        qmodel = self.quantized()
        exact = {name: self._tensor(array) for name, array in _run(self._model, qmodel, batch).items()}
        starts = {s.value.name: self._tensor(_real(s.initial, s.value, None)) for s in qmodel.states}
        count = len(batch.lengths)
        states = {n: starts[n].to(x.dtype).expand(count, *starts[n].shape) for n, x in batch.states.items()}
        streams = {name: exact.pop(name) for name in batch.streams}
        matrices = stored_matrices(self._model, qmodel)
        stored = {
            n: self._tensor(m.weights * m.scales[:, None]).reshape(weights[n].shape)
            for n, m in matrices.items()
        }
        seen = {n: straight_through(w, stored[n]) if n in stored else w for n, w in weights.items()}
        return seen, replace(batch, streams=streams, states=states, through=exact)

    def _tensor(self, array: FloatArray | IntArray) -> Tensor:
        """Real numbers in the parameters' type, tokens as they are."""
        like = next(self.parameters())
        kind = like.dtype if array.dtype.kind == "f" else torch.int64
        return torch.as_tensor(array, dtype=kind, device=like.device)


def _run(model: Model, qmodel: QModel, batch: Batch) -> dict[str, FloatArray | IntArray]:
    """What the integers make of a batch, as real numbers [N, T, ...] by the names of the float values.

    The inputs, rounded to their scales, are among them. What exists only in the float graph is not.
    """
    function, called = model.main, qmodel.main
    inputs = {value.name: _integers(batch.streams[value.name], value.name, qmodel) for value in called.inputs}
    known = {v.name: v for op in all_ops(model) for v in writes(op)} | {s.name: s.value for s in model.states}
    made = {v.name: v for op in called.all_ops for v in q_writes(op)}
    made |= {state.value.name: state.value for state in qmodel.states}
    both = tuple(name for name in made if name in known)
    lengths = batch.lengths.cpu().numpy()
    run = run_integer(qmodel, inputs, lengths, keep=both)
    values = {value.name: value for value in called.inputs} | made
    shapes = {name: value.shape for name, value in known.items()}
    exact = {
        name: _real(array, values[name], shapes.get(name)) for name, array in (inputs | run.kept).items()
    }
    for name, output in zip(function.outputs, called.outputs, strict=True):
        if output.left_to_caller is None and name not in exact:
            exact[name] = _real(run.outputs[output.value.name], output.value, shapes.get(name))
    return exact


def _integers(x: Tensor, name: str, qmodel: QModel) -> IntArray:
    """An input [N, T, ...] as the chip takes it."""
    value = next(value for value in qmodel.main.inputs if value.name == name)
    array = x.detach().cpu().numpy()
    if value.dtype == "token":
        return np.asarray(array, np.int64)
    return quantize_input(array, value.scale, value.bits)


def _real(stored: IntArray, value: QValue, shape: tuple[int, ...] | None) -> FloatArray | IntArray:
    """Integers [N, T, ...] times their scale, in the float value's shape; tokens as they are."""
    shaped = stored if shape is None else stored.reshape(*stored.shape[:2], *shape)
    return shaped if value.dtype == "token" else np.asarray(shaped * value.scale, np.float64)
