"""Decoders: transposed convolutions with a stride over time, and repeated frames, several frames a step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from command_line import call, call_json
from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.importers.onnx import import_onnx
from stepcell.importers.pytorch import import_torch
from stepcell.ir.text import macs_per_step
from stepcell.reference.float_model import run_float
from tools import require_tool

UNITS = 6


class Codec(nn.Module):
    """Samples [B, T, 1] -> one frame of four -> a GRU -> a decoder [B, channels, frames] -> [B, T', ...]."""

    def __init__(self, *decoder: nn.Module, cut: int = 0, stride: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, UNITS, stride, stride=stride)
        self.recurrent = nn.GRU(UNITS, UNITS, batch_first=True)
        self.decoder, self.cut = nn.Sequential(*decoder), cut

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, 1] -> y [B, T', channels]."""
        y = torch.relu(self.encoder(x.transpose(1, 2))).transpose(1, 2)
        made: Tensor = self.decoder(self.recurrent(y)[0].transpose(1, 2))
        return torch.tanh(made[..., : -self.cut] if self.cut else made).transpose(1, 2)


class Cut(nn.Module):
    """Without the last frames."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T]."""
        return x[..., : -self.frames]


class Causal(nn.Module):
    """A convolution that reads earlier frames only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T]."""
        made: Tensor = self.conv(functional.pad(x, (2, 0)))
        return torch.relu(made)


class Planes(nn.Module):
    """Steps [B, T, 6] as [B, 3, T, 2], transposed over time and features."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(UNITS, UNITS, batch_first=True)
        self.decoder = nn.ConvTranspose2d(3, 2, (4, 3), stride=(2, 2), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, 6] -> [B, 2 T, 2, 3]."""
        y = self.recurrent(x)[0]
        planes = y.reshape(y.shape[0], y.shape[1], 3, 2).transpose(1, 2)
        made: Tensor = self.decoder(planes)[:, :, :-2]
        return made.transpose(1, 2)


def transposed(
    kernel: int, stride: int, channels: int = 2, inputs: int = UNITS, **options: Any
) -> nn.ConvTranspose1d:
    return nn.ConvTranspose1d(inputs, channels, kernel, stride=stride, **options)


CASES: dict[str, tuple[Callable[[], nn.Module], int, bool]] = {
    "every_frame_alone": (lambda: Codec(transposed(4, 4)), 4, True),
    "overlap": (lambda: Codec(transposed(8, 4), cut=4), 4, True),
    "odd_overlap": (lambda: Codec(transposed(7, 3, 1), cut=4), 3, True),
    "faster_than_its_input": (lambda: Codec(transposed(4, 4, 1), stride=2), 4, True),
    "dilated": (lambda: Codec(transposed(3, 2, dilation=2), cut=3), 2, True),
    "dilated_in_step": (lambda: Codec(transposed(4, 2, dilation=3), cut=8), 2, True),
    "shorter_kernel": (lambda: Codec(transposed(2, 4, output_padding=2)), 4, True),
    "groups": (lambda: Codec(transposed(6, 2, 4, groups=2), cut=4), 2, True),
    "looks_ahead": (lambda: Codec(transposed(8, 4, padding=2)), 4, False),
    "looks_ahead_in_groups": (lambda: Codec(transposed(6, 2, 4, groups=2, padding=2)), 2, False),
    "output_padding": (lambda: Codec(transposed(5, 2, padding=2, output_padding=1)), 2, False),
    "two_in_a_row": (
        lambda: Codec(transposed(4, 2, 4), Cut(2), nn.ReLU(), Causal(4), transposed(6, 2, 1, 4), cut=4),
        4,
        True,
    ),
    "repeated": (lambda: Codec(nn.Upsample(scale_factor=4), Causal(UNITS), nn.Conv1d(UNITS, 1, 1)), 4, True),
    "repeated_twice": (
        lambda: Codec(nn.Upsample(scale_factor=2), Causal(UNITS), nn.Upsample(scale_factor=2)),
        4,
        True,
    ),
    "planes": (Planes, 2, True),
}


def exported(folder: Path, module: nn.Module) -> Path:
    """The module as a file, its batch and its time free."""
    path = folder / "model.onnx"
    shape = (2, 12, UNITS if isinstance(module, Planes) else 1)
    torch.onnx.export(
        module.eval(),
        (torch.randn(shape),),
        path,
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "B", 1: "T"}},
    )
    return path


def made(case: str) -> nn.Module:
    torch.manual_seed(0)
    return CASES[case][0]()


@pytest.mark.parametrize("case", CASES)
def test_a_decoder_gives_several_frames_a_step_and_equals_its_source(tmp_path: Path, case: str) -> None:
    _, frames, is_step = CASES[case]
    model = import_onnx(exported(tmp_path, made(case)))  # refuses what differs from ONNX Runtime by over 1e-5
    assert model.source is not None
    assert [tensor.frames_per_step for tensor in model.source.outputs] == [frames]
    assert model.main.is_step is is_step


@pytest.mark.parametrize("case", ["overlap", "looks_ahead", "repeated_twice", "planes"])
def test_a_module_imports_as_its_file_does(case: str) -> None:
    module = made(case)
    model = import_torch(module, torch.zeros(1, 16, UNITS if case == "planes" else 1))
    assert model.source is not None
    assert [tensor.frames_per_step for tensor in model.source.outputs] == [CASES[case][1]]


@pytest.mark.parametrize("case", ["overlap", "looks_ahead", "two_in_a_row", "planes"])
def test_the_float_export_gives_the_frames_of_a_step_side_by_side(tmp_path: Path, case: str) -> None:
    path = exported(tmp_path, made(case))
    model = import_onnx(path)
    x = np.random.default_rng(0).standard_normal((2, 24, UNITS if case == "planes" else 1)).astype(np.float32)
    found = outputs_of(export_float(model), x)
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    steps, frames = found.shape[1], CASES[case][1]
    assert wanted.shape[1] == steps * frames
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-5)
    (mine,) = run_float(model, x.astype(np.float64)).outputs(model.main).values()
    np.testing.assert_allclose(found, mine, atol=1e-5)


def outputs_of(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def test_no_zeros_between_frames_are_multiplied(tmp_path: Path) -> None:
    """A frame of the result reads kernel / stride frames: two here."""
    model = import_onnx(exported(tmp_path, made("overlap")))
    assert macs_per_step(model) == 4 * UNITS + 3 * UNITS * 2 * UNITS + 4 * 2 * UNITS * 2


@pytest.mark.parametrize("case", ["overlap", "looks_ahead", "two_in_a_row", "groups", "repeated_twice"])
def test_a_decoder_is_equal_from_the_integer_reference_to_the_c(tmp_path: Path, case: str) -> None:
    require_tool("gcc", "cffi")
    path = exported(tmp_path, made(case))
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).standard_normal((8, 32, 1)))
    whole = [] if CASES[case][2] else ["--max-steps", "8"]
    done = call("compile", path, "--calibration", tmp_path / "x.npz", "-o", tmp_path / "c", *whole)
    assert done.exit_code == 0, done.output
    found = call_json("validate", tmp_path / "c", "--data", tmp_path / "x.npz", "--on", "host")
    assert (found["integer_vs_ort_mismatches"], found["c_vs_integer_mismatches"]) == (0, {"host": 0})
    assert found["values_compared"] > 8 * 32


REFUSED: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "frames_left_over": (
        lambda: Codec(transposed(8, 4)),
        r"'y' has \+4 frames besides 4 for every step",
        "cut off what is over",
    ),
    "frames_missing": (lambda: Codec(transposed(2, 4)), r"'y' has -2 frames besides 4", "pad"),
    "another_rate": (
        lambda: nn.Sequential(Codec(transposed(4, 4, UNITS)), Last()),
        r"\(GRU\) reads 4 frames a step; the recurrent layers of a network have to run at one rate",
        "upsample behind the last one",
    ),
    "interpolated": (
        lambda: Codec(nn.Upsample(scale_factor=2, mode="linear")),
        r"\(Resize\) resizes by linear",
        "mode='nearest'",
    ),
}


class Last(nn.Module):
    """One more layer."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(UNITS, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, 6]."""
        found: Tensor = self.recurrent(x)[0]
        return found


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_step_cannot_say_is_refused_with_a_fix(tmp_path: Path, case: str) -> None:
    make, message, fix = REFUSED[case]
    with pytest.raises(StepcellError, match=message) as refusal:
        import_onnx(exported(tmp_path, make()))
    assert fix in refusal.value.hint
