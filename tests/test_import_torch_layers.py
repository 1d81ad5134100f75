"""Recurrent layers and cells with their options; every import compares itself with the module."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stepcell.errors import StepcellError
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
