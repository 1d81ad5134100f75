"""PyTorch modules; the import itself compares each with the module at several lengths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from import_modules import INPUTS, Network, networks
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.importers.pytorch import import_torch
from stepcell.ir import Model, to_text, verify_lowerable
from stepcell.reference.float_model import run_float


@settings(max_examples=12)
@given(networks(), st.integers(1, 3), st.integers(2, 7))
def test_modules_import(module: Network, batch: int, steps: int) -> None:
    model = verify_lowerable(import_torch(module, torch.zeros(batch, steps, INPUTS), "net"))
    assert model.source is not None
    assert model.source.kind == "torch"
    assert module.training


@pytest.mark.parametrize("head", ["last", "mean", "every"])
def test_bidirectional_modules_become_stages(head: str) -> None:
    model = import_torch(Network("gru", head, 2, bidirectional=True), torch.zeros(1, 5, INPUTS), "net")
    assert [stage.direction for stage in model.main.stages] == ["forward", "backward"] * 2 + ["forward"]


def test_the_same_module_gives_the_same_model() -> None:
    module = Network("lstm", "last", 2)
    first, second = (import_torch(module, torch.zeros(1, steps, INPUTS), "net") for steps in (3, 9))
    assert to_text(first) == to_text(second)
    assert first.source == second.source


class WithStates(nn.Module):
    """Returns what it took: explicit state tensors of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(INPUTS, 4, 2, batch_first=True)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, T, 3], h and c [2, N, 4] -> y [N, T, 4], and h and c after the last step."""
        y, (hn, cn) = self.recurrent(x, (h, c))
        return y, hn, cn


@pytest.mark.parametrize("steps", [1, 5])
def test_states_that_go_in_and_come_out_belong_to_the_model(steps: int) -> None:
    example = (torch.zeros(1, steps, INPUTS), torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
    model = verify_lowerable(import_torch(WithStates(), example, "net"))
    assert model.source is not None
    assert [(s.state, s.tensor_in, s.index) for s in model.source.states] == [
        ("lstm1_h", "h", (0, None)),
        ("lstm1_c", "c", (0, None)),
        ("lstm2_h", "h", (1, None)),
        ("lstm2_c", "c", (1, None)),
    ]
    assert len(model.main.outputs) == 1


class Forward(nn.Module):
    """A GRU, and whatever is done to its outputs [N, T, 4]."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.recurrent, self.then = nn.GRU(INPUTS, 4, batch_first=True), then

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 3] -> what `then` makes of [N, T, 4]."""
        return self.then(self.recurrent(x)[0])


@pytest.mark.parametrize(
    "then",
    [
        lambda y: y[:, -1],
        lambda y: y[:, -1:].squeeze(1),
        lambda y: y.transpose(1, 2)[..., -1],
        lambda y: y.amax(1),
        lambda y: y.flatten(2) * 2 + 1,
        lambda y: torch.cat([y, 1 - y], -1),
        lambda y: y[..., :2] - y[..., 2:],
        lambda y: y.reshape(y.shape[0], -1, 2, 2).permute(0, 1, 3, 2).flatten(-2),
        lambda y: y.unsqueeze(-1).squeeze(-1),
        lambda y: torch.sub(y, y * y, alpha=0.5) / 3,
        lambda y: y.reshape(-1, 4).sigmoid().view(-1, y.shape[1], 4),
    ],
)
def test_what_heads_do_imports(then: Callable[[Tensor], Tensor]) -> None:
    import_torch(Forward(then), torch.zeros(2, 5, INPUTS), "net")


@pytest.mark.parametrize(
    ("then", "complaint"),
    [
        (lambda y: y[:, 0], r"picks index 0 of the time axis"),
        (lambda y: y.sum(1) / y.shape[1], r"differs from its source by"),
        (lambda y: y.softmax(1), r"is attention scores or weights"),
        (
            lambda y: y - y.mean(1, keepdim=True),
            r"mixes values of every step with values of the whole sequence",
        ),
        (lambda y: y.mean(0), r"reduces the batch axis"),
    ],
)
def test_what_is_not_imported_is_refused_by_name(then: Callable[[Tensor], Tensor], complaint: str) -> None:
    with pytest.raises(StepcellError, match=complaint):
        import_torch(Forward(then), torch.zeros(2, 5, INPUTS), "net")


def test_a_module_that_counts_its_steps_is_refused_by_the_check() -> None:
    """Its trace holds the example's length as a number, which no axis shows."""

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.GRU(INPUTS, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.recurrent(x)[0][:, -1] * x.shape[1]
            return found

    with pytest.raises(StepcellError, match="the import differs from its source by"):
        import_torch(Counts(), torch.zeros(1, 5, INPUTS), "net")


class Packs(nn.Module):
    """Packs its sequences, of which it takes the lengths or knows them."""

    def __init__(self, pads: bool) -> None:
        super().__init__()
        self.recurrent, self.pads = nn.GRU(INPUTS, 4, batch_first=True), pads

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x [N, T, 3], lengths [N] -> [N, T, 4], or the last states."""
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, h = self.recurrent(packed)
        return nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0] if self.pads else h


@pytest.mark.parametrize("pads", [False, True])
def test_packed_sequences_are_refused_with_the_way_out(pads: bool) -> None:
    with pytest.raises(StepcellError, match=r"forward\(\) packs sequences") as refused:
        import_torch(Packs(pads), (torch.zeros(1, 5, INPUTS), torch.tensor([5])), "net")
    assert refused.value.message.count(". ") == 0
    assert "run the recurrent layer on the padded batch" in refused.value.hint


@pytest.mark.parametrize(
    ("then", "complaint", "hint"),
    [
        (
            lambda y: y * 2 if y.sum() > 0 else y,
            r"decides by the values of its data.*\(line \d+ of",
            "torch.where",
        ),
        (lambda y: y[: int(y.abs().sum().item())], r"decides by the values of its data", "torch.where"),
        (lambda y: torch.from_numpy(np.tanh(y.detach().numpy())), r"torch.export|numpy", "tensors"),
        (lambda y: y @ torch.ones(5, 5), r"does not run on inputs of shape \[1, 5, 3\]", "--shape"),
    ],
)
def test_what_cannot_be_traced_is_refused_in_a_sentence(
    then: Callable[[Tensor], Tensor], complaint: str, hint: str
) -> None:
    with pytest.raises(StepcellError, match=complaint) as refused:
        import_torch(Forward(then), torch.zeros(1, 5, INPUTS), "net")
    assert "\n" not in refused.value.message
    assert hint in refused.value.hint


FACTORY = """
import torch
def build():
    return torch.nn.GRU(3, 4, batch_first=True)
def number():
    return 3
"""


def from_factory(folder: Path, spec: str = "build", **options: Any) -> Model:
    (folder / "factory.py").write_text(FACTORY)
    return import_model(f"{folder}/factory.py:{spec}", **options)


def test_a_factory_and_its_weights_import(tmp_path: Path) -> None:
    trained = nn.GRU(3, 4, batch_first=True)
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    model = from_factory(tmp_path, weights=tmp_path / "weights.pt", shapes={"x": (1, "T", 3)})
    x = torch.randn(2, 6, 3)
    with torch.no_grad():
        wanted = trained(x)[0].numpy()
    assert np.allclose(run_float(model, x.double().numpy()).steps["gru1_h_next"], wanted, atol=1e-5)
    assert model.name == "factory"


def test_a_factory_takes_its_shape_from_calibration_data(tmp_path: Path) -> None:
    assert from_factory(tmp_path, calibration=np.zeros((4, 9, 3))).main.inputs[0].shape == (3,)


@pytest.mark.parametrize(
    ("spec", "options", "complaint"),
    [
        ("missing", {"shapes": {"x": (1, 2, 3)}}, "defines no function 'missing'"),
        ("number", {"shapes": {"x": (1, 2, 3)}}, "returned int, not an nn.Module"),
        ("build", {}, "the shape of its input is not known"),
        ("build", {"shapes": {"x": (1, 2, 3)}, "weights": "none.pt"}, "no such weights file"),
        ("build", {"shapes": {"x": (1, 2, 3)}, "weights": __file__}, "does not hold the module's weights"),
    ],
)
def test_mistakes_with_a_factory_are_named(
    spec: str, options: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(StepcellError, match=complaint):
        from_factory(tmp_path, spec, **options)
