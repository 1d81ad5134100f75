"""What is compared with what: which rows of an output a label belongs to, and the losses over them."""

import torch
from torch import Tensor
from torch.nn import functional


def rows(output: Tensor, lengths: Tensor, per_step: bool) -> Tensor:
    """Outputs to be judged, one a row: [M, O].

    per_step: those of every valid step of [N, T, ...]; otherwise one a sequence, and an output that
    exists at every step is judged at the last one.
    """
    if per_step:
        valid = torch.arange(output.shape[1], device=output.device) < lengths[:, None]
        return output[valid].flatten(1) if output.ndim > 2 else output[valid][:, None]
    if output.ndim > 2:
        output = output[torch.arange(len(output), device=output.device), lengths - 1]
    return output.reshape(len(lengths), -1)


def targets(y: Tensor, lengths: Tensor, per_step: bool) -> Tensor:
    """The labels of the same rows: int [M], or float [M, O]."""
    if per_step:
        y = y[torch.arange(y.shape[1], device=y.device) < lengths[:, None]]
    return y.reshape(len(y), -1) if y.is_floating_point() else y


def task_loss(judged: Tensor, y: Tensor) -> Tensor:
    """Squared error for float y [M, O], cross-entropy of logits [M, C] for classes [M] (binary if C = 1)."""
    if y.is_floating_point():
        return functional.mse_loss(judged, y.to(judged.dtype))
    if judged.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(judged[:, 0], y.to(judged.dtype))
    return functional.cross_entropy(judged, y)


def correct(judged: Tensor, y: Tensor) -> Tensor:
    """Which classes [M] are right: argmax of the logits, or a single logit's sign (probability 0.5)."""
    predicted = judged.argmax(1) if judged.shape[1] > 1 else (judged[:, 0] > 0).to(y.dtype)
    return predicted == y


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of logits [M, C] softened by T (Hinton et al. 2015); binary if C = 1."""
    if student.shape[1] == 1:
        soft = torch.sigmoid(teacher / temperature)
        return temperature**2 * functional.binary_cross_entropy_with_logits(student / temperature, soft)
    log_student, log_teacher = (functional.log_softmax(x / temperature, dim=1) for x in (student, teacher))
    divergence = functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return temperature**2 * divergence
