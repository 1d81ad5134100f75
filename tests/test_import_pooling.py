"""Pooling: positions rounded up, padding that counts or does not, dilation; within a step and over time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.importers.pytorch import import_torch

FEATURES, CHANNELS, STEPS = 8, 2, 12


class Pooled(nn.Module):
    """A GRU of pooled frames; its judge at import is PyTorch, or ONNX Runtime."""

    def __init__(self, pool: nn.Module, within_step: bool, relu: bool = False) -> None:
        super().__init__()
        self.pool, self.within_step, self.relu = pool, within_step, relu
        width = CHANNELS * pool(torch.zeros(1, 1, FEATURES)).shape[-1] if within_step else CHANNELS * FEATURES
        self.head, self.recurrent = nn.Linear(width, 4), nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, 2, 8]."""
        x = torch.relu(x) if self.relu else x
        n, t = x.shape[:2]
        if self.within_step:
            y = self.pool(x.reshape(n * t, CHANNELS, FEATURES)).reshape(n, t, -1)
        else:
            y = self.pool(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        found: Tensor = self.recurrent(self.head(y))[0]
        return found


WITHIN: dict[str, Callable[[], nn.Module]] = {
    "maximum_up": lambda: nn.MaxPool1d(3, ceil_mode=True),
    "maximum_up_padded": lambda: nn.MaxPool1d(3, 3, padding=1, ceil_mode=True),
    "maximum_dilated": lambda: nn.MaxPool1d(2, dilation=3),
    "maximum_dilated_up": lambda: nn.MaxPool1d(2, 4, dilation=2, ceil_mode=True),
    "mean_up": lambda: nn.AvgPool1d(3, ceil_mode=True),
    "mean_up_padded": lambda: nn.AvgPool1d(3, padding=1, ceil_mode=True),
    "mean_up_padded_behind": lambda: nn.AvgPool1d(4, 3, padding=1, ceil_mode=True),
    "mean_up_of_what_is_inside": lambda: nn.AvgPool1d(
        4, 3, padding=2, ceil_mode=True, count_include_pad=False
    ),
    "mean_up_where_the_last_window_would_start_behind": lambda: nn.AvgPool1d(2, 5, padding=1, ceil_mode=True),
}
OVER_TIME: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "maximum_up": (lambda: nn.MaxPool1d(2, ceil_mode=True), False),
    "mean_up": (lambda: nn.AvgPool1d(2, ceil_mode=True), False),
    "mean_padded": (lambda: nn.AvgPool1d(3, 1, padding=1), False),
    "maximum_padded_of_what_is_never_negative": (lambda: nn.MaxPool1d(3, 1, padding=1), True),
}


def frames() -> Tensor:
    return torch.zeros(1, STEPS, CHANNELS, FEATURES)


@pytest.mark.parametrize("case", WITHIN)
def test_pooling_within_a_step_computes_what_pytorch_does(case: str) -> None:
    import_torch(Pooled(WITHIN[case](), within_step=True), frames())


@pytest.mark.parametrize("case", OVER_TIME)
def test_pooling_over_time_computes_what_pytorch_does(case: str) -> None:
    pool, relu = OVER_TIME[case]
    import_torch(Pooled(pool(), within_step=False, relu=relu), frames())


@pytest.mark.parametrize("case", ["maximum_up", "maximum_up_padded", "maximum_dilated", "mean_up"])
def test_pooling_within_a_step_computes_what_onnx_runtime_does(tmp_path: Path, case: str) -> None:
    path = tmp_path / "pool.onnx"
    torch.onnx.export(
        Pooled(WITHIN[case](), within_step=True).eval(),
        (frames(),),
        path,
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        dynamic_axes={"x": {0: "B", 1: "T"}},
    )
    import_onnx(path)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a window beyond the end": (
        lambda: nn.MaxPool1d(3, 2, ceil_mode=True),
        r"rounds the number of its results over time up",
    ),
    "a mean of the frames there are": (
        lambda: nn.AvgPool1d(3, 1, padding=1, count_include_pad=False),
        r"pads the time axis and does not count that in its means",
    ),
    "a maximum of signed frames": (
        lambda: nn.MaxPool1d(3, 1, padding=1),
        r"pads the time axis in front, below every number",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_stream_pools_is_refused(case: str) -> None:
    pool, message = REFUSED[case]
    with pytest.raises(StepcellError, match=message):
        import_torch(Pooled(pool(), within_step=False), frames())
