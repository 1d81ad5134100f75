"""Convolutions, pooling and padding from torch: an import equals ONNX Runtime, or is refused with a fix."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.importers.onnx import import_onnx
from stepcell.ir import Model
from stepcell.ir.ops import Activate, Conv, Dense
from stepcell.ir.sequences import frame_values
from stepcell.ir.text import macs_per_step
from stepcell.reference.float_model import run_float


class Crnn(nn.Module):
    """Keyword spotting: convolutions over time x mel with strides, batch norm, a GRU, the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, (3, 5), stride=(2, 2), padding=(1, 2))
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 6, (1, 3), stride=(1, 2), padding=(0, 1))
        self.gru = nn.GRU(24, 8, batch_first=True)
        self.head = nn.Linear(8, 3)
        self.norm.running_mean = torch.randn(4)
        self.norm.running_var = torch.rand(4) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, ...]."""
        y = torch.relu(self.norm(self.first(x[:, None])))
        y = torch.relu(self.second(y)).permute(0, 2, 1, 3).flatten(2)
        head: Tensor = self.head(self.gru(y)[0][:, -1])
        return head


class Chomp(nn.Module):
    """Cuts off what a convolution with padding on both sides gives beyond the end."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, ...]."""
        return x[:, :, : -self.frames].contiguous()


class Tcn(nn.Module):
    """Causal dilated convolutions, then a GRU; a head at every step."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, dilation in enumerate((1, 2, 4)):
            conv = nn.Conv1d(6 if i else 5, 6, 3, padding=2 * dilation, dilation=dilation)
            layers += (
                [conv, nn.ReLU(), Chomp(2 * dilation)] if i == 1 else [conv, Chomp(2 * dilation), nn.ReLU()]
            )
        self.layers = nn.Sequential(*layers)
        self.gru = nn.GRU(6, 7, batch_first=True)
        self.head = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, ...]."""
        y: Tensor = self.head(self.gru(self.layers(x.transpose(1, 2)).transpose(1, 2))[0])
        return y


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, pooling by two frames, an LSTM."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.depthwise = nn.Conv1d(8, 16, 3, groups=8, padding=0 if causal else 1)
        self.pointwise = nn.Conv1d(16, 12, 1)
        self.pool = nn.MaxPool1d(2)
        self.lstm = nn.LSTM(12, 6, batch_first=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, ...]."""
        y = x.transpose(1, 2)
        y = torch.relu(self.depthwise(functional.pad(y, (2, 0)) if self.causal else y))
        y = self.pool(torch.relu(self.pointwise(y))).transpose(1, 2)
        head: Tensor = self.head(self.lstm(y)[0][:, -1])
        return head


class Samples(nn.Module):
    """Raw samples: a transform with stride 4, its magnitude, a strided convolution, a mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.transform = nn.Conv1d(1, 10, 8, stride=4)
        self.conv = nn.Conv1d(5, 6, 3, stride=2, padding=1)
        self.gru = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, ...]."""
        y = self.transform(functional.pad(x[:, None], (4, 0)))
        y = torch.sqrt(y[:, :5] ** 2 + y[:, 5:] ** 2 + 0.1)
        y = torch.relu(self.conv(y)).transpose(1, 2)
        return torch.sigmoid(self.head(self.gru(y)[0])).mean(1)


class LooksAhead(nn.Module):
    """Padding on both sides reads frames of later steps; the recurrent layer reads all of them anyway."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(5, 6, 5, padding=2)
        self.second = nn.Conv1d(6, 4, 3, stride=2, padding=1)
        self.gru = nn.GRU(4, 5, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, ...]."""
        y = torch.relu(self.second(torch.relu(self.first(x.transpose(1, 2))))).transpose(1, 2)
        heads: Tensor = self.head(self.gru(y)[0])
        return heads


class WithinStep(nn.Module):
    """Convolutions over an inner axis: reflected, strided, averaged, spread out again, grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 4, stride=2)
        self.grouped = nn.Conv1d(4, 6, 3, padding=2, dilation=2, groups=2)
        self.transposed = nn.ConvTranspose1d(6, 4, 4, stride=2, padding=1, groups=2)
        self.gru = nn.GRU(4 * 18, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, ...]."""
        steps, batch = x.shape[:2]
        y = self.conv(functional.pad(x.flatten(0, 1), (2, 2), mode="reflect"))
        y = functional.avg_pool1d(torch.relu(y), 3, 1, 1, count_include_pad=False)
        y = functional.avg_pool1d(self.grouped(y), 3, 1, 1)
        y = functional.max_pool1d(functional.pad(self.transposed(y), (1, 1), value=0.5), 3, 1, 1)[:, :, 1:19]
        heads: Tensor = self.head(self.gru(y.reshape(steps, batch, -1))[0])
        return heads


Axes = dict[str, dict[int, str]]
BATCH_TIME: Axes = {"x": {0: "B", 1: "T"}}
CASES = {
    "crnn": (Crnn, (2, 12, 16), BATCH_TIME, 2),
    "crnn_frozen": (Crnn, (1, 12, 16), {}, 2),
    "tcn": (Tcn, (2, 12, 5), BATCH_TIME, 1),
    "separable": (lambda: Separable(causal=True), (2, 12, 8), BATCH_TIME, 2),
    "separable_same": (lambda: Separable(causal=False), (2, 12, 8), BATCH_TIME, 2),
    "samples": (Samples, (2, 64), BATCH_TIME, 8),
    "looks_ahead": (LooksAhead, (2, 12, 5), BATCH_TIME, 2),
    "within_step": (WithinStep, (6, 2, 3, 20), {"x": {0: "T", 1: "B"}}, 1),
}


def exported(folder: Path, module: nn.Module, shape: tuple[int, ...], axes: Axes) -> Path:
    """The module as a file."""
    path = folder / "model.onnx"
    torch.onnx.export(
        module.eval(),
        (torch.randn(shape),),
        path,
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes=axes,
    )
    return path


def imported(folder: Path, case: str) -> Model:
    torch.manual_seed(0)
    make, shape, axes, _ = CASES[case]
    return import_onnx(exported(folder, make(), shape, axes))


@pytest.mark.parametrize("case", CASES)
def test_a_network_with_windows_equals_its_source_and_its_export(tmp_path: Path, case: str) -> None:
    model = imported(tmp_path, case)  # refuses what differs from ONNX Runtime by more than 1e-5
    frames = CASES[case][3]
    assert model.main.frames_per_step == frames
    (value,) = frame_values(model.main)
    x = np.random.default_rng(0).standard_normal((3, 6 * frames, *value.shape))
    (wanted,) = run_float(model, x).outputs(model.main).values()
    session = onnxruntime.InferenceSession(export_float(model).SerializeToString())
    (found,) = session.run(None, {value.name: x.astype(np.float32)})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_causal_network_is_one_step_and_what_looks_ahead_runs_whole_sequences(tmp_path: Path) -> None:
    for case in CASES:
        assert imported(tmp_path, case).main.is_step is (case not in ("looks_ahead", "separable_same"))


def test_batch_normalization_becomes_part_of_the_convolution(tmp_path: Path) -> None:
    ops = imported(tmp_path, "crnn").main.stages[0].ops
    assert [type(op) for op in ops if isinstance(op, Conv | Activate | Dense)] == [Conv, Activate] * 2


def test_a_window_at_one_position_is_a_dense_layer(tmp_path: Path) -> None:
    ops = imported(tmp_path, "tcn").main.stages[0].ops
    assert not any(isinstance(op, Conv) for op in ops)
    assert sum(isinstance(op, Dense) for op in ops) == 4


def test_multiplications_count_every_position(tmp_path: Path) -> None:
    model = imported(tmp_path, "crnn")
    first, second, gru, last = 8 * 4 * 15, 4 * 6 * 12, 24 * (24 + 8), 0
    assert macs_per_step(model) == first + second + gru + last


class Front(nn.Module):
    """Some front end over [batch, channels, time], then a GRU."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.gru = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, ...]."""
        found: Tensor = self.gru(self.layers(x.transpose(1, 2)).transpose(1, 2))[0][:, -1]
        return found


REFUSED = {
    "valid": (
        Front(nn.Conv1d(5, 4, 3)),
        "without its first 2 frames",
        "pad 2 zero frames more in front",
    ),
    "reflected": (
        Front(nn.Conv1d(5, 4, 3, padding=1, padding_mode="reflect")),
        "in the mode reflect",
        "with zeros",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_stream_cannot_compute_exactly_is_refused_with_a_fix(tmp_path: Path, case: str) -> None:
    module, found, fix = REFUSED[case]
    path = exported(tmp_path, module, (2, 12, 5), BATCH_TIME)
    with pytest.raises(StepcellError) as refusal:
        import_onnx(path)
    assert found in refusal.value.message
    assert fix in str(refusal.value.hint)


def test_a_maximum_over_padded_time_needs_a_relu(tmp_path: Path) -> None:
    pool = nn.MaxPool1d(2, 1, 1)
    with_relu = Front(nn.Conv1d(5, 4, 1), nn.ReLU(), pool, Chomp(1))
    import_onnx(exported(tmp_path, with_relu, (2, 12, 5), BATCH_TIME))
    without = Front(nn.Conv1d(5, 4, 1), pool, Chomp(1))
    with pytest.raises(StepcellError, match="below every number"):
        import_onnx(exported(tmp_path, without, (2, 12, 5), BATCH_TIME))


class LastOfValid(nn.Module):
    """Convolutions without padding of which only the last result is read, beside a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 4, batch_first=True)
        self.first = nn.Conv1d(5, 3, 4, dilation=2)
        self.second = nn.Conv1d(3, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, 5]."""
        y = self.second(torch.relu(self.first(x.transpose(1, 2))))
        return torch.cat([self.gru(x)[0][:, -1], y[:, :, -1]], 1)


def test_the_last_result_of_a_convolution_without_padding_needs_none(tmp_path: Path) -> None:
    model = import_onnx(exported(tmp_path, LastOfValid(), (2, 12, 5), BATCH_TIME))
    assert model.source is not None
    assert model.source.shortest == 8  # frames: a shorter sequence has no last result
