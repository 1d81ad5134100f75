"""Cells called once, in loops over time, or written by hand: each is one layer, or is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stepcell.errors import StepcellError
from stepcell.importers.pytorch import import_torch
from stepcell.ir.model import recurrent_ops
from stepcell.ir.ops import Gru, Lstm, Rnn

INPUTS, UNITS = 3, 4


class Step(nn.Module):
    """One step of a cell: x [N, 3] and its states -> y [N, 2] and its states."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(UNITS, 2)

    def forward(self, x: Tensor, states: Any) -> Any:
        """y [N, 2], the new states."""
        after = self.cell(x, states)
        return self.head(after[0] if isinstance(after, tuple) else after), after


CELLS: dict[str, tuple[Callable[[], nn.Module], int, type]] = {
    "lstm": (lambda: nn.LSTMCell(INPUTS, UNITS), 2, Lstm),
    "lstm_no_bias": (lambda: nn.LSTMCell(INPUTS, UNITS, bias=False), 2, Lstm),
    "gru": (lambda: nn.GRUCell(INPUTS, UNITS), 1, Gru),
    "rnn_tanh": (lambda: nn.RNNCell(INPUTS, UNITS), 1, Rnn),
    "rnn_relu": (lambda: nn.RNNCell(INPUTS, UNITS, nonlinearity="relu"), 1, Rnn),
}


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_cell_is_a_step(kind: str, batch: int) -> None:
    make, count, op = CELLS[kind]
    torch.manual_seed(0)
    states = tuple(torch.zeros(batch, UNITS) for _ in range(count))
    example = (torch.zeros(batch, INPUTS), states if count > 1 else states[0])
    model = import_torch(Step(make()), example, "net")
    assert [type(found) for found in recurrent_ops(model)] == [op]
    assert len(model.states) == count
    assert len(model.main.outputs) == 1


class Loop(nn.Module):
    """A cell called in a Python loop over time, in one of the ways in which that is written."""

    def __init__(self, cell: nn.Module, written: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.written, self.head = cell, written, nn.Linear(UNITS, 2)

    def start(self, x: Tensor) -> Any:
        """Zeros for the states."""
        h = torch.zeros(x.shape[0], UNITS)
        return (h, torch.zeros_like(h)) if isinstance(self.cell, nn.LSTMCell) else h

    def forward(self, x: Tensor) -> Any:
        """x [N, T, 3] -> [N, T, 4], [N, T, 2], [N, 2] or several."""
        found: Any = getattr(self, f"as_{self.written}")(x)
        return found

    def each(self, x: Tensor) -> list[Tensor]:
        """h after every step."""
        state, found = self.start(x), []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            found.append(state[0] if isinstance(state, tuple) else state)
        return found

    def as_stacked(self, x: Tensor) -> Tensor:
        """All states in a stack."""
        return torch.stack(self.each(x), dim=1)

    def as_stacked_first(self, x: Tensor) -> Tensor:
        """The stack has time first."""
        return torch.stack(self.each(x)).transpose(0, 1)

    def as_joined(self, x: Tensor) -> Tensor:
        """All states joined along time."""
        return torch.cat([h.unsqueeze(1) for h in self.each(x)], dim=1)

    def as_last(self, x: Tensor) -> Any:
        """The head reads the last state."""
        found: Any = self.head(self.each(x)[-1])
        return found

    def as_all_and_last(self, x: Tensor) -> Any:
        """The head reads all states, and the last."""
        found = self.each(x)
        return self.head(torch.stack(found, 1)), self.head(found[-1])

    def as_heads(self, x: Tensor) -> Tensor:
        """The head runs inside the loop."""
        state, found = self.start(x), []
        for x_t in x.unbind(1):
            state = self.cell(x_t, state)
            found.append(self.head(state[0] if isinstance(state, tuple) else state))
        return torch.stack(found, dim=1)

    def as_slices(self, x: Tensor) -> Tensor:
        """Frames keep their time axis."""
        state, found = self.start(x), []
        for x_t in x.split(1, dim=1):
            state = self.cell(x_t.squeeze(1), state)
            found.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(found, dim=1)

    def as_stored(self, x: Tensor) -> Tensor:
        """States are written into a tensor."""
        state, found = self.start(x), torch.zeros(x.shape[0], x.shape[1], UNITS)
        for t in range(x.shape[1]):
            state = self.cell(x[:, t, :], state)
            found[:, t] = state[0] if isinstance(state, tuple) else state
        return found

    def as_only_the_last_head(self, x: Tensor) -> Any:
        """What every iteration computes, and only the last is asked for."""
        state, y = self.start(x), torch.zeros(0)
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            y = self.head(state[0] if isinstance(state, tuple) else state)
        return y

    def as_sum(self, x: Tensor) -> Tensor:
        """The sum of all states."""
        total: Any = 0
        for h in self.each(x):
            total = total + h
        assert isinstance(total, Tensor)
        return total


WRITTEN = [name.removeprefix("as_") for name in vars(Loop) if name.startswith("as_")]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_cell_in_a_loop_is_one_layer(kind: str, written: str) -> None:
    make, count, op = CELLS[kind]
    model = import_torch(Loop(make(), written), torch.zeros(2, 5, INPUTS), "net")
    assert [type(found) for found in recurrent_ops(model)] == [op]
    assert [stage.direction for stage in model.main.stages] == ["forward"]
    assert len(model.states) == count + (written == "sum")


def test_loops_over_the_outputs_of_loops_import() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.inside = nn.GRUCell(3, 4), nn.GRUCell(4, 5), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            h, g, found = x.new_zeros(x.shape[0], 4), x.new_zeros(x.shape[0], 5), []
            for t in range(x.shape[1]):
                h = self.first(torch.relu(self.inside(x[:, t])), h)
                found.append(h)
            for h in found:
                g = self.second(h, g)
            return g

    model = import_torch(Deep(), torch.zeros(1, 6, 3), "net")
    assert [op.h_next.shape for op in recurrent_ops(model) if isinstance(op, Gru)] == [(4,), (5,)]


def test_stacked_cells_in_one_loop_are_two_layers() -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.cells = nn.ModuleList([nn.LSTMCell(3, 4), nn.LSTMCell(4, 5)])

        def forward(self, x: Tensor) -> Tensor:
            states = [(x.new_zeros(x.shape[0], n), x.new_zeros(x.shape[0], n)) for n in (4, 5)]
            for t in range(x.shape[1]):
                y = x[:, t]
                for k, cell in enumerate(self.cells):
                    states[k] = cell(y, states[k])
                    y = states[k][0]
            return y

    assert len(recurrent_ops(import_torch(Stacked(), torch.zeros(1, 6, 3), "net"))) == 2


def test_a_loop_from_the_end_runs_backwards() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.cell = nn.GRUCell(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = x.new_zeros(x.shape[0], 4)
            found: list[Tensor] = []
            for t in reversed(range(x.shape[1])):
                h = self.cell(x[:, t], h)
                found.insert(0, h)
            return torch.stack(found, 1)

    model = import_torch(Backwards(), torch.zeros(1, 6, 3), "net")
    assert [stage.direction for stage in model.main.stages] == ["backward"]


class Written(nn.Module):
    """Cells written by hand, as tutorials do."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        gates = {"lstm": 4, "gru": 3, "gru_before": 3, "rnn": 1, "joined": 4}[kind]
        self.i2h, self.h2h = nn.Linear(INPUTS, gates * UNITS), nn.Linear(UNITS, gates * UNITS)
        self.joined, self.out = nn.Linear(INPUTS + UNITS, 4 * UNITS), nn.Linear(UNITS, UNITS)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """h and c after a step."""
        match self.kind:
            case "rnn":
                return torch.tanh(self.i2h(x) + self.h2h(h)), c
            case "gru":
                (xr, xz, xn), (hr, hz, hn) = self.i2h(x).chunk(3, -1), self.h2h(h).chunk(3, -1)
                r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
                n = torch.tanh(xn + r * hn)
                return (1 - z) * n + z * h, c
            case "gru_before":
                xr, xz, xn = self.i2h(x).chunk(3, -1)
                hr, hz, _ = self.h2h(h).chunk(3, -1)
                r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
                n = torch.tanh(xn + self.out(r * h))
                return z * h + (1 - z) * n, c
            case "lstm":
                gates = self.i2h(x) + self.h2h(h)
            case _:
                gates = self.joined(torch.cat([x, h], -1))
        i, f, g, o = gates.split(UNITS, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 3] -> h after the last step."""
        h = c = torch.zeros(x.shape[0], UNITS)
        for t in range(x.shape[1]):
            h, c = self.step(x[:, t], h, c)
        return h


@pytest.mark.parametrize(
    ("kind", "op"), [("lstm", Lstm), ("joined", Lstm), ("gru", Gru), ("gru_before", Gru), ("rnn", Rnn)]
)
def test_cells_written_by_hand_are_found(kind: str, op: type) -> None:
    model = import_torch(Written(kind), torch.zeros(1, 6, INPUTS), "net")
    assert [type(found) for found in recurrent_ops(model)] == [op]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("first", "picks index|runs along|differs"),
        ("skips", "picks index|runs along|differs"),
        ("counts", "differs from its source by|picks index"),
    ],
)
def test_loops_that_are_not_one_step_repeated_are_refused(change: str, complaint: str) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(INPUTS, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            h = x.new_zeros(x.shape[0], UNITS)
            for t in range(x.shape[1]):
                if change == "skips" and t == 3:
                    continue
                scaled = x[:, t] * (t if change == "counts" else 1)
                h = self.cell(-scaled if change == "first" and t == 2 else scaled, h)
            return h

    with pytest.raises(StepcellError, match=complaint):
        import_torch(Odd(), torch.zeros(1, 7, INPUTS), "net")
