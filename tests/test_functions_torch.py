"""The functions of retraining are those of the interpreter."""

import numpy as np
import pytest
import torch

from stepcell.ir.operators import FunctionName, ReduceKind
from stepcell.ir.ops import (
    Activate,
    Append,
    Attend,
    Normalize,
    Reduce,
    Value,
)
from stepcell.reference import float_ops
from stepcell.reference.float_functions import _FUNCTIONS
from stepcell.train import functions


@pytest.mark.parametrize("name", [*_FUNCTIONS, "softmax", "log_softmax"])
def test_a_function_equals_the_interpreters(name: FunctionName) -> None:
    x = np.random.default_rng(0).uniform(0.1, 3.0, (4, 7))
    x = x if name in ("log", "sqrt", "power") else x - 1.5
    y = Value("y", (7,))
    for alpha, beta in ((None, None), (0.7, 0.9)):
        op = Activate("x", y, name, alpha, beta)
        found = functions.activate(op, torch.tensor(x))
        np.testing.assert_allclose(found.numpy(), float_ops.activate(op, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min"])
def test_a_reduction_equals_the_interpreters(kind: ReduceKind) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 7))
    op = Reduce("x", Value("y", (3,)), kind)
    np.testing.assert_allclose(functions.reduce(op, torch.tensor(x)).numpy(), float_ops.reduce(op, x))


def test_a_normalization_equals_the_interpreters() -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(4, 3, 7)), {"g": rng.normal(size=7), "b": rng.normal(size=7)}
    op = Normalize("x", Value("y", (3, 7)), "g", "b", 1e-5)
    found = functions.normalize(op, {name: torch.tensor(a) for name, a in weights.items()}, torch.tensor(x))
    np.testing.assert_allclose(found.numpy(), float_ops.normalize(op, weights, x), rtol=1e-9, atol=1e-12)


def test_a_memory_equals_the_interpreters() -> None:
    rng = np.random.default_rng(0)
    memory, x, count = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 3)), np.array([0, 2, 4, 5])
    append = Append("m", "n", "x", Value("y", (5, 3)))
    found = functions.append(append, *map(torch.tensor, (memory, count, x)))
    np.testing.assert_array_equal(found.numpy(), float_ops.append(memory, count, x))
    attend = Attend("q", "m", "m", "n", Value("y", (3,)), 0.5)
    found = functions.attend(attend, *map(torch.tensor, (x, memory, memory, count)))
    np.testing.assert_allclose(found.numpy(), float_ops.attend(attend, x, memory, memory, count))
