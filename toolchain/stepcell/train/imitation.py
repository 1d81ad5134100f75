"""Learning from a teacher alone: what it answers and, where wanted, what its layers hold; labels may be none.

The loss is a mean of parts without units: the distance of classes is a divergence (Hinton et al. 2015), that
of values, and of hidden states, a squared error over the teacher's variance. A student's layer may have fewer
units than the teacher's: a linear map between the two is learnt along, and forgotten after training (FitNets,
Romero et al. 2015).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stepcell.errors import StepcellError
from stepcell.ir.logits import logits_of
from stepcell.ir.model import Model, recurrent_ops
from stepcell.ir.ops import Value
from stepcell.ir.sequences import Sequences
from stepcell.train.evaluate import labels
from stepcell.train.losses import distillation_loss, rows, task_loss
from stepcell.train.module import StepModule, to_module

_SMALLEST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Parts:
    """Of the parts of the loss: answers, hidden states, labels. 0 leaves a part out."""

    answers: float = 1.0
    hidden: float = 0.1
    labels: float = 0.0


class Imitation(nn.Module):
    """A student of a teacher, and the maps between their hidden states: what is trained, and on which loss.

    The teacher is no part of the module, and is not trained.
    """

    def __init__(
        self,
        student: Model,
        teacher: Model,
        weighed: Parts,
        temperature: float,
        classes: bool = False,
        seed: int = 0,
        module: StepModule | None = None,
    ) -> None:
        """Both have the same inputs and outputs; classes: the first output is logits, though nothing says so.

        `seed` draws the maps; `module` is the student's, by default a float one. Raises StepcellError for
        models that do not answer alike, and for what cannot be trained.
        """
        super().__init__()
        self.student = to_module(student) if module is None else module
        _check_alike(student, teacher)
        self._teacher = (to_module(teacher).eval(),)  # not registered: it is not trained
        self._asked, self._told = _answers(student, classes), _answers(teacher, classes)
        pairs = _pairs(student, teacher) if weighed.hidden else []
        self._pairs = [(mine.name, theirs.name) for mine, theirs in pairs]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.maps = nn.ModuleList(nn.Linear(mine.size, theirs.size) for mine, theirs in pairs)
        self._weighed, self._temperature = weighed, temperature

    def loss(self, clean: Sequences, noisy: Sequences) -> Tensor:
        """Of a batch: the teacher is asked about the clean one, the student about the noisy one."""
        asked = (*(a.name for a in self._asked), *(mine for mine, _ in self._pairs))
        told = (*(a.name for a in self._told), *(theirs for _, theirs in self._pairs))
        found = self._observe(self.student, noisy, asked)
        with torch.no_grad():
            wanted = self._observe(self._teacher[0], clean, told)
        lengths = (torch.from_numpy(clean.lengths) // clean.frames_per_step).to(found[0].device)
        parts = [
            self._weighed.answers
            * self._distance(answer, *(rows(y, lengths, not answer.is_finished) for y in pair))
            for answer, *pair in zip(self._asked, found, wanted, strict=False)
        ]
        for learnt, *pair in zip(self.maps, found[len(parts) :], wanted[len(parts) :], strict=True):
            mine, theirs = (rows(h, lengths, per_step=True) for h in pair)
            parts.append(self._weighed.hidden * _relative_error(learnt(mine), theirs))
        return torch.stack([*parts, *self._labelled(clean, found[0], lengths)]).sum()

    def _observe(self, module: StepModule, data: Sequences, names: tuple[str, ...]) -> tuple[Tensor, ...]:
        device = next(self.student.parameters()).device
        streams = {name: torch.from_numpy(x).to(device) for name, x in data.feed(module.input_names).items()}
        return module.to(device).observe(streams, torch.from_numpy(data.lengths), names)

    def _distance(self, answer: "_Answer", student: Tensor, teacher: Tensor) -> Tensor:
        if not answer.is_class:
            return _relative_error(student, teacher)
        if not answer.is_one_of_many:
            student, teacher = student.reshape(-1, 1), teacher.reshape(-1, 1)
        least = distillation_loss(teacher, teacher, self._temperature)  # a cross-entropy's, of one logit
        return distillation_loss(student, teacher, self._temperature) - least

    def _labelled(self, data: Sequences, output: Tensor, lengths: Tensor) -> list[Tensor]:
        if not self._weighed.labels or data.y is None:
            return []
        judged = rows(output, lengths, data.y_per_step)
        return [self._weighed.labels * task_loss(judged, labels(data).to(judged.device))]


@dataclass(frozen=True)
class _Answer:
    """An output as it is compared: its logits where it is classes."""

    name: str
    is_finished: bool
    is_class: bool
    is_one_of_many: bool


def _answers(model: Model, classes: bool) -> list[_Answer]:
    function = model.main
    finished = function.finish.outputs if function.finish is not None else ()
    found = []
    for number, output in enumerate(function.outputs):
        name, relative = logits_of(function, output)
        plain = classes and number == 0 and name == output
        found.append(_Answer(name, output in finished, plain or name != output, plain or relative))
    return found


def _check_alike(student: Model, teacher: Model) -> None:
    """Both take the same inputs and give as many outputs."""
    taken = [(v.name, v.shape, v.dtype) for v in student.main.inputs]
    if taken != [(v.name, v.shape, v.dtype) for v in teacher.main.inputs]:
        raise StepcellError(
            f"{student.name}: its inputs are not those of its teacher {teacher.name}.",
            "make the student of the teacher: prune, remove_units or new_student.",
        )
    if len(student.main.outputs) != len(teacher.main.outputs):
        raise StepcellError(
            f"{student.name}: it has {len(student.main.outputs)} outputs, its teacher {teacher.name} "
            f"{len(teacher.main.outputs)}.",
            "make the student of the teacher: prune, remove_units or new_student.",
        )


def _pairs(student: Model, teacher: Model) -> list[tuple[Value, Value]]:
    """Each hidden state of the student, and the one that it learns: of fewer layers, the last of several."""
    mine, theirs = ([op.h_next for op in recurrent_ops(model)] for model in (student, teacher))
    if not theirs:
        return []
    return [(h, theirs[max(0, -(-(i + 1) * len(theirs) // len(mine)) - 1)]) for i, h in enumerate(mine)]


def _relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared error [M, O] over the teacher's variance."""
    error = functional.mse_loss(student, teacher)
    return error / teacher.var(dim=0, unbiased=False).mean().clamp(min=_SMALLEST_VARIANCE)
