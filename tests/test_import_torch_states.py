"""States that only the user or the module tells, and the names of outputs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stepcell.errors import StepcellError
from stepcell.importers.pytorch import import_torch

INPUTS, UNITS = 3, 4


class Keeps(nn.Module):
    """A module that keeps its state in a buffer."""

    h: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell = nn.GRUCell(INPUTS, UNITS)
        self.register_buffer("h", torch.linspace(-0.5, 0.5, UNITS)[None])

    def forward(self, x: Tensor) -> Tensor:
        """x [1, 3] -> [1, 4]."""
        self.h = self.cell(x, self.h)
        return 2 * self.h


class KeepsInPlace(Keeps):
    """The same, copied into the buffer."""

    def forward(self, x: Tensor) -> Tensor:
        """x [1, 3] -> [1, 4]."""
        self.h.copy_(self.cell(x, self.h))
        return 2 * self.h


@pytest.mark.parametrize("make", [Keeps, KeepsInPlace])
def test_buffers_that_forward_overwrites_are_states(make: Callable[[], Keeps]) -> None:
    module = make()
    before = module.h.clone()
    model = import_torch(module, torch.zeros(1, INPUTS), "net")
    (state,) = model.states
    np.testing.assert_array_equal(state.initial, before[0].numpy())
    assert torch.equal(module.h, before), "the import leaves the module as it was"
    assert model.source is not None
    assert [(s.tensor_in, s.tensor_out) for s in model.source.states] == [("b_h", "h_next")]


class Smooths(nn.Module):
    """An exponential average: a state without any recurrent layer."""

    def forward(self, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, 3] -> x - mean, mean [N, 3]."""
        mean = 0.9 * mean + 0.1 * x
        return x - mean, mean


@pytest.mark.parametrize("output", ["1", "output_1"])
def test_states_are_named_by_position_or_name(output: str) -> None:
    example = (torch.zeros(1, INPUTS), torch.zeros(1, INPUTS))
    model = import_torch(Smooths(), example, "net", states={"mean": output})
    assert [state.name for state in model.states] == ["mean"]


def test_a_state_that_names_no_output_is_refused() -> None:
    example = (torch.zeros(1, INPUTS), torch.zeros(1, INPUTS))
    with pytest.raises(StepcellError, match=r"mean=7 names no output; the outputs are output_0, output_1"):
        import_torch(Smooths(), example, "net", states={"mean": "7"})


def test_outputs_have_the_names_that_forward_gives_them() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.head = nn.GRU(INPUTS, UNITS, batch_first=True), nn.Linear(UNITS, 2)

        def forward(self, x: Tensor, h: Tensor) -> dict[str, Tensor]:
            y, h = self.recurrent(x, h)
            return {"logits": self.head(y), "h": h}

    model = import_torch(Named(), (torch.zeros(1, 5, INPUTS), torch.zeros(1, 1, UNITS)), "net")
    assert model.main.outputs == ("logits",)
    assert model.source is not None
    assert [(s.tensor_in, s.tensor_out) for s in model.source.states] == [("h", "h_next")]
