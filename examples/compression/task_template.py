"""A task to copy: what `stepcell compress` and `stepcell sensitivity` are told about data and metric.

    stepcell compress model.onnx --recipe recipe.toml --task task_template.py -o small

As it stands it reads train.npz and test.npz beside this file: x [N, T, ...], optional lengths [N] in frames,
y: int [N] or [N, T] (classes), or float [N, ...] (targets).
"""

from pathlib import Path

from stepcell.compress import Task
from stepcell.ir.sequences import load_sequences

FOLDER = Path(__file__).parent


def task() -> Task:
    """Training data is learnt from, validation data chooses, test data is read once, at the end.

    Data without y does for pruning in one shot, for quantization and for distillation. A Task also takes

    metric(outputs, data) -> {name: number}, the first number the one to watch, in place of accuracy and
        macro precision; outputs [N, O], or [N, T, O] of every step (not to be read past a sequence's length)
    loss(rows, labels) -> a scalar tensor that `prune` with a schedule and `train` lower; rows [M, O], of
        classes logits, labels [M]
    threshold, of a single output: above it, it says class 1
    """
    train, validation = load_sequences(FOLDER / "train.npz").split(0.1, seed=0)
    test = load_sequences(FOLDER / "test.npz")
    return Task("my-task", train, validation, test)
