"""`to_module`: a Model as a torch module with ordinary parameters; `from_module`: the trained Model back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stepcell.ir.graph import writes
from stepcell.ir.memory import check_memory, stage_ops
from stepcell.ir.model import FloatArray, Mask, Model, Stage, all_ops
from stepcell.ir.ops import Activate, Value
from stepcell.ir.verify import verify
from stepcell.train.fusable import is_fusable
from stepcell.train.operations import Values, evaluate
from stepcell.train.stages import Batch, run_stage
from stepcell.train.straight_through import pass_through
from stepcell.train.trainable import verify_trainable
from stepcell.train.weights import MaskedWeights, to_array

Path = Literal["fused", "scan"]
Inputs = Tensor | Mapping[str, Tensor]


def to_module(model: Model, path: Path = "fused") -> "StepModule":
    """Build the module that computes what `model` does, in float32.

    Stages run through torch's kernels where these compute exactly the same, else step by step;
    path="scan" runs every stage step by step: slower, and equal within rounding.
    Raises StepcellError for what cannot be trained, by name.
    """
    return StepModule(verify_trainable(model), path)


def from_module(module: "StepModule", model: Model) -> Model:
    """`model` with the module's weights (float32 numbers in float64 arrays) and masks; verified."""
    weights = {name: to_array(weight) for name, weight in module.weights().items()}
    return verify(model.with_weights(weights, module.get_masks()))


class StepModule(nn.Module):
    """A Model in torch: `module(x [N, T, ...], lengths [N]) -> output`, ragged batches padded at the end.

    x and lengths count frames, of which a step may take several; T of an output counts steps.

    The output is [N, ...] where `finish` defines it, [N, T, ...] where a stage does (not to be read past
    a sequence's length); several outputs are a tuple, several inputs a mapping by name.
    """

    def __init__(self, model: Model, path: Path) -> None:
        super().__init__()
        self._function = model.main
        self._fused = {s.name: path == "fused" and is_fusable(s, model.main) for s in model.main.stages}
        self._logits = _before_last_activation(model)
        self._states = tuple(state.name for state in model.states)
        self.weights = MaskedWeights(model)
        self.initial = nn.Module()
        for index, state in enumerate(model.states):
            start = torch.tensor(state.initial, dtype=torch.float32)
            self.initial.register_buffer(str(index), start, persistent=False)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The model's inputs, in order."""
        return tuple(value.name for value in self._function.inputs)

    def forward(self, x: Inputs, lengths: Tensor | None = None) -> Any:
        """The outputs of N sequences; lengths [N] are 1..T (default: all T).

        Raises StepcellError for sequences longer than a memory.
        """
        outputs = self._run(x, lengths, self._function.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def logits(self, x: Inputs, lengths: Tensor | None = None) -> Tensor:
        """The first output before the softmax or sigmoid that ends it, for losses that bring their own."""
        return self._run(x, lengths, (self._logits,))[0]

    def observe(self, x: Inputs, lengths: Tensor | None, names: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Values of the step graphs [N, T, ...] or of `finish` [N, ...], by their names in the Model."""
        return self._run(x, lengths, names)

    def get_weight(self, name: str) -> FloatArray:
        """A parameter as it acts now, by its name in the Model."""
        return to_array(self.weights()[name])

    def parameter(self, name: str) -> nn.Parameter:
        """What the optimizer moves, before its mask, by its name in the Model."""
        return self.weights.parameter(name)

    def get_masks(self) -> dict[str, Mask]:
        """The masks, by the name of their parameter."""
        return self.weights.masks()

    def set_mask(self, name: str, mask: Mask) -> None:
        """Mask a parameter from now on, and set what the mask prunes to zero."""
        self.weights.set_mask(name, mask)

    def _run(self, x: Inputs, lengths: Tensor | None, wanted: tuple[str, ...]) -> tuple[Tensor, ...]:
        weights, batch = self._begin(x, lengths)
        for stage in self._function.stages:
            record = dict.fromkeys((*stage.outputs, *(name for name in wanted if _defines(stage, name))))
            run = run_stage(stage, weights, batch, tuple(record), self._fused[stage.name])
            batch = replace(batch, streams=batch.streams | run.streams, states=run.states)
        ends = self._finish(weights, batch)
        return tuple(ends[name] if name in ends else batch.streams[name] for name in wanted)

    def _begin(self, x: Inputs, lengths: Tensor | None) -> tuple[Values, Batch]:
        """What the operations see: the parameters, and what the first stage starts with."""
        streams = self._streams(x)
        first = next(iter(streams.values()))
        count, steps = first.shape[:2]
        frames = self._function.frames_per_step
        lengths = torch.full((count,), steps) if lengths is None else lengths // frames
        check_memory(self._function.name, stage_ops(self._function), lengths.cpu().numpy())
        return self.weights(), Batch(streams, self._initial_states(count), lengths.to(first.device), steps)

    def _streams(self, x: Inputs) -> Values:
        named = dict(x) if isinstance(x, Mapping) else {self.input_names[0]: x}
        steps = {name: self._in_steps(x) for name, x in named.items()}
        return {value.name: self._typed(steps[value.name], value) for value in self._function.inputs}

    def _in_steps(self, x: Tensor) -> Tensor:
        """[N, T, ...] with the frames of a step together: [N, T / s, s, ...]."""
        frames = self._function.frames_per_step
        return x if frames == 1 else x.reshape(len(x), x.shape[1] // frames, frames, *x.shape[2:])

    def _typed(self, x: Tensor, value: Value) -> Tensor:
        return x if value.dtype == "token" else x.to(next(self.parameters()).dtype)

    def _initial_states(self, count: int) -> Values:
        starts = zip(self._states, self.initial.buffers(), strict=True)
        return {name: start.repeat(count, *[1] * start.ndim) for name, start in starts}

    def _finish(self, weights: Values, batch: Batch) -> Values:
        ends = dict(batch.states)
        exact = {name: x[:, -1] for name, x in batch.through.items()}
        for op in self._function.finish.ops if self._function.finish else ():
            evaluate(op, weights, ends)
            pass_through((value.name for value in writes(op)), exact, ends)
        return ends


def _defines(stage: Stage, name: str) -> bool:
    return any(value.name == name for op in stage.ops for value in writes(op))


def _before_last_activation(model: Model) -> str:
    (output, *_) = model.main.outputs
    for op in all_ops(model):
        if isinstance(op, Activate) and op.y.name == output and op.function in ("softmax", "sigmoid"):
            return op.x
    return output
