"""Recurrent layers with their options; every import compares itself with the module."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stepcell.importers.pytorch import import_torch
from stepcell.ir.model import recurrent_ops
from stepcell.ir.ops import Gru, Lstm, Rnn

INPUTS, UNITS = 3, 4

LAYERS: dict[str, tuple[Callable[..., Any], type]] = {
    "lstm": (nn.LSTM, Lstm),
    "gru": (nn.GRU, Gru),
    "rnn_tanh": (nn.RNN, Rnn),
    "rnn_relu": (lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options), Rnn),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True},
        {"num_layers": 2},
        {"bias": False},
        {"bidirectional": True},
        {"bidirectional": True, "num_layers": 2, "batch_first": True},
        {"num_layers": 3, "dropout": 0.5, "bias": False},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_layers_import_with_every_option(kind: str, options: dict[str, Any]) -> None:
    make, op = LAYERS[kind]
    torch.manual_seed(0)
    model = import_torch(make(INPUTS, UNITS, **options), torch.zeros(7, 7, INPUTS)[:, :2], "net")
    expected = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    found = recurrent_ops(model)
    assert len(found) == expected
    assert all(isinstance(one, op) for one in found)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bias": False}, {"bidirectional": True}])
def test_projections_import(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = import_torch(
        nn.LSTM(INPUTS, 6, proj_size=2, batch_first=True, **options), torch.zeros(1, 7, INPUTS), "net"
    )
    assert all(isinstance(op, Lstm) and op.projection for op in recurrent_ops(model))


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_without_a_batch_import(kind: str) -> None:
    make, _ = LAYERS[kind]
    torch.manual_seed(0)
    assert import_torch(make(INPUTS, UNITS), torch.zeros(7, INPUTS), "net").main.inputs[0].shape == (INPUTS,)


class Starts(nn.Module):
    """A GRU that starts at a parameter, at zeros of its own, or at what it is given."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recurrent, self.kind = nn.GRU(INPUTS, UNITS, 2, batch_first=True), kind
        self.first = nn.Parameter(torch.rand(2, 1, UNITS) - 0.5)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [N, T, 3] -> y [N, T, 4], h [2, N, 4]."""
        match self.kind:
            case "parameter":
                h = self.first.expand(-1, x.shape[0], -1).contiguous()
            case "repeated":
                h = self.first.repeat(1, x.shape[0], 1)
            case "zeros":
                h = x.new_zeros(2, x.shape[0], UNITS)
            case _:
                pass
        y, h = self.recurrent(x, h)
        return y, h


@pytest.mark.parametrize("kind", ["parameter", "repeated", "zeros"])
def test_layers_start_where_the_module_says(kind: str) -> None:
    module = Starts(kind)
    model = import_torch(module, torch.zeros(1, 7, INPUTS), "net")
    wanted = np.zeros((2, UNITS)) if kind == "zeros" else module.first[:, 0].detach().numpy()
    np.testing.assert_array_equal([state.initial for state in model.states], wanted)


def test_states_that_the_caller_gives_are_states_of_the_model() -> None:
    model = import_torch(Starts("given"), (torch.zeros(1, 7, INPUTS), torch.zeros(2, 1, UNITS)), "net")
    assert model.source is not None
    assert [(s.tensor_in, s.tensor_out) for s in model.source.states] == [("h", "output_1")] * 2
