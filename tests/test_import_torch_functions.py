"""What PyTorch computes around recurrent layers; every import compares itself with the module."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # as everyone calls it
from torch import Tensor, nn

from stepcell.errors import StepcellError
from stepcell.importers.pytorch import import_torch
from stepcell.ir import Model
from stepcell.ir.ops import Activate, ArgMax, Conv, Embed, Normalize

INPUTS, UNITS = 3, 4


class Around(nn.Module):
    """`before` on inputs [N, T, 3], a GRU of 4 units, `after` on its outputs [N, T, 4]."""

    def __init__(
        self,
        after: Callable[[Tensor], Tensor] = lambda y: y,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        inputs: int = INPUTS,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.after = before, after
        self.recurrent = nn.GRU(inputs, UNITS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 3] -> what `after` makes of [N, T, 4]."""
        return self.after(self.recurrent(self.before(x))[0])


def imported(module: nn.Module, example: Tensor | None = None) -> Model:
    return import_torch(module, torch.zeros(1, 7, INPUTS) if example is None else example, "net")


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": lambda y: F.relu6(4 * y),
    "leaky_relu": lambda y: F.leaky_relu(y, 0.2),
    "elu": lambda y: F.elu(y, 0.7),
    "selu": F.selu,
    "celu": lambda y: F.celu(y, 0.5),
    "gelu": F.gelu,
    "gelu_tanh": lambda y: F.gelu(y, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": lambda y: F.hardswish(4 * y),
    "hardsigmoid": lambda y: F.hardsigmoid(4 * y),
    "hardtanh": lambda y: F.hardtanh(y, -0.1, 0.2),
    "clamp": lambda y: y.clamp(-0.1, 0.2),
    "clamp_min": lambda y: y.clamp(min=0.05),
    "clamp_max": lambda y: y.clamp(max=0.05),
    "softplus": F.softplus,
    "softplus_beta": lambda y: F.softplus(y, beta=3.0),
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "tanhshrink": F.tanhshrink,
    "threshold": lambda y: F.threshold(y, 0.1, 0.0),
    "softmax": lambda y: F.softmax(y, -1),
    "log_softmax": lambda y: F.log_softmax(y, -1),
    "softmin": lambda y: F.softmin(y, -1),
    "glu": lambda y: F.glu(y, -1),
    "normalize": lambda y: F.layer_norm(y, (4,)),
    "rms_norm": lambda y: F.rms_norm(y, (4,), eps=1e-3),
    "exp": torch.exp,
    "log": lambda y: torch.log(y.abs() + 1),
    "sqrt": lambda y: (y + 2).sqrt(),
    "rsqrt": lambda y: (y + 2).rsqrt(),
    "square": torch.square,
    "power": lambda y: (y + 2) ** 1.5,
    "power_of_two": lambda y: 2**y,
    "reciprocal": lambda y: 1 / (y + 2),
    "abs": torch.abs,
    "neg": lambda y: -y,
    "erf": torch.erf,
    "lerp": lambda y: torch.lerp(y, torch.tanh(y), 0.3),
    "addcmul": lambda y: torch.addcmul(y, y, y, value=0.5),
    "divide": lambda y: y / (y * y + 1),
    "maximum": lambda y: torch.maximum(y, -y),
    "minimum": lambda y: torch.minimum(y, y * y),
    "sub_alpha": lambda y: torch.sub(y, y * y, alpha=0.5),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_import(name: str) -> None:
    imported(Around(FUNCTIONS[name]))


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "chunk": lambda y: torch.cat(y.chunk(2, -1)[::-1], -1),
    "split": lambda y: y.split([1, 3], -1)[1],
    "split_size": lambda y: y.split(3, -1)[0],
    "unbind": lambda y: y.unbind(-1)[2],
    "stack": lambda y: torch.stack([y, -y], -1),
    "stack_before": lambda y: torch.stack([y, -y], 2),
    "unflatten": lambda y: y.unflatten(-1, (2, 2)).transpose(-1, -2),
    "index_select": lambda y: y.index_select(-1, torch.tensor([3, 0, 0])),
    "index_list": lambda y: y[..., [2, 1]],
    "flip": lambda y: y.flip(-1),
    "roll": lambda y: torch.cat([y[..., 1:], y[..., :1]], -1),
    "expand": lambda y: y.unsqueeze(-1).expand(-1, -1, -1, 3),
    "repeat": lambda y: y.repeat(1, 1, 2),
    "narrow": lambda y: y.narrow(-1, 1, 2),
    "movedim": lambda y: y.unsqueeze(-1).movedim(-1, 2),
    "pad": lambda y: F.pad(y, (1, 2)),
    "step": lambda y: y[..., ::2],
    "permute": lambda y: y.permute(1, 0, 2).permute(1, 0, 2),
    "constants": lambda y: y + torch.arange(4) * torch.ones_like(y) - torch.zeros(4) + y.new_full((4,), 2.0),
    "matrix": lambda y: y @ torch.arange(8.0).reshape(4, 2),
    "einsum": lambda y: torch.einsum("bti,io->bto", y, torch.arange(8.0).reshape(4, 2)),
    "stored": lambda y: torch.zeros(y.shape[0], y.shape[1], 6).slice_scatter(y, 2, 1, 5),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_elements_imports(name: str) -> None:
    imported(Around(MOVES[name]))


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda y: y.mean(-1, keepdim=True),
    "sum": lambda y: y.sum(-1),
    "amax": lambda y: y.amax(-1, keepdim=True),
    "amin": lambda y: y.amin(-1),
    "max": lambda y: y.max(-1).values,
    "min": lambda y: y.min(-1, keepdim=True).values,
    "mean_of_two": lambda y: y.unflatten(-1, (2, 2)).mean((-1, -2)),
    "norm": lambda y: y.norm(dim=-1),
    "mean_time": lambda y: y.mean(1),
    "sum_time": lambda y: y.sum(1),
    "max_time": lambda y: y.amax(1),
    "min_time": lambda y: y.amin(1),
    "mean_time_then": lambda y: y.mean(dim=1).sigmoid(),
    "both": lambda y: torch.cat([y.mean(1), y.amax(1), y[:, -1]], -1),
    "adaptive": lambda y: F.adaptive_avg_pool1d(y.transpose(1, 2), 1).squeeze(-1),
    "adaptive_max": lambda y: F.adaptive_max_pool1d(y.transpose(1, 2), 1).squeeze(-1),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_import(name: str) -> None:
    imported(Around(REDUCTIONS[name]))


def test_the_largest_class_is_a_token() -> None:
    model = imported(Around(lambda y: y.argmax(-1)))
    (found,) = [op for stage in model.main.stages for op in stage.ops if isinstance(op, ArgMax)]
    assert found.y.dtype == "token"


class Prelude(nn.Module):
    """Layers on [N, C, T] before a GRU."""

    def __init__(self, layers: nn.Module, channels: int) -> None:
        super().__init__()
        self.layers, self.recurrent = layers, nn.GRU(channels, UNITS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 3] -> [N, T', 4]."""
        found: Tensor = self.recurrent(self.layers(x.transpose(1, 2)).transpose(1, 2))[0]
        return found


def trained(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    """A normalisation whose statistics are not those that it starts with."""
    with torch.no_grad():
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            if tensor is not None:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return norm


CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "pointwise": (lambda: nn.Conv1d(INPUTS, 5, 1), 5),
    "causal": (lambda: nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(INPUTS, 5, 3)), 5),
    "dilated": (lambda: nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(INPUTS, 5, 3, dilation=2)), 5),
    "depthwise": (lambda: nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(INPUTS, 6, 3, groups=3)), 6),
    "normalised": (
        lambda: nn.Sequential(
            nn.ConstantPad1d((2, 0), 0.0),
            nn.Conv1d(INPUTS, 5, 3, bias=False),
            trained(nn.BatchNorm1d(5)),
            nn.ReLU(),
        ),
        5,
    ),
    "only_normalised": (lambda: trained(nn.BatchNorm1d(INPUTS)), INPUTS),
    "slopes": (lambda: nn.Sequential(nn.Conv1d(INPUTS, 5, 1), nn.PReLU(5)), 5),
    "dropped": (lambda: nn.Sequential(nn.Dropout(0.5), nn.Identity()), INPUTS),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_over_time_import(name: str) -> None:
    layers, channels = CONVOLUTIONS[name]
    torch.manual_seed(1)
    model = imported(Prelude(layers(), channels))
    assert model.main.is_step


class Spectrum(nn.Module):
    """Convolutions and pooling within a step, over its 8 features, before a GRU."""

    def __init__(self, layers: nn.Module, width: int) -> None:
        super().__init__()
        self.layers, self.recurrent = layers, nn.GRU(width, UNITS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 8] -> [N, T, 4]."""
        y = self.layers(x.reshape(-1, 1, 8)).reshape(x.shape[0], x.shape[1], -1)
        found: Tensor = self.recurrent(y)[0]
        return found


SPECTRA: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "conv": (lambda: nn.Conv1d(1, 2, 3, stride=2, padding=1), 8),
    "same": (lambda: nn.Conv1d(1, 2, 4, padding="same"), 16),
    "max_pool": (lambda: nn.MaxPool1d(2), 4),
    "avg_pool": (lambda: nn.AvgPool1d(3, stride=2), 3),
    "adaptive": (lambda: nn.Sequential(nn.Conv1d(1, 5, 3), nn.AdaptiveAvgPool1d(1)), 5),
    "reflected": (lambda: nn.Sequential(nn.ReflectionPad1d(2), nn.Conv1d(1, 1, 5)), 8),
    "transposed": (lambda: nn.ConvTranspose1d(1, 1, 2, stride=2), 16),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_convolutions_within_a_step_import(name: str) -> None:
    layers, width = SPECTRA[name]
    torch.manual_seed(1)
    imported(Spectrum(layers(), width), torch.zeros(1, 7, 8))


def test_a_two_dimensional_front_end_imports() -> None:
    """As for keyword spotting: causal over time, strided over frequency."""

    class FrontEnd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(1, 4, (3, 3), stride=(1, 2)), nn.BatchNorm2d(4)
            self.recurrent = nn.LSTM(16, UNITS, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y = F.pad(x.unsqueeze(1), (0, 0, 2, 0))
            y = F.relu(self.norm(self.convolution(y))).permute(0, 2, 1, 3).flatten(2)
            found: Tensor = self.recurrent(y)[0][:, -1]
            return found

    model = imported(FrontEnd(), torch.zeros(1, 7, 9))
    assert any(isinstance(op, Conv) for op in model.main.stages[0].ops)


class Tokens(nn.Module):
    """Characters in, a class out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 5, padding_idx=0)
        self.recurrent = nn.GRU(5, UNITS, batch_first=True)
        self.norm = nn.LayerNorm(UNITS)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T] -> [N, 4]."""
        found: Tensor = self.norm(self.recurrent(self.embedding(x.long()))[1][-1])
        return found


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_tokens_import(dtype: torch.dtype) -> None:
    model = imported(Tokens(), torch.zeros(1, 7, dtype=dtype))
    assert model.main.inputs[0].dtype == "token"
    kinds = {type(op) for stage in model.main.stages for op in stage.ops}
    assert Embed in kinds
    assert any(isinstance(op, Normalize) for op in model.main.finish.ops) if model.main.finish else False


def test_functions_keep_their_parameters() -> None:
    model = imported(Around(lambda y: F.hardtanh(F.leaky_relu(y, 0.2), -0.5, 0.25)))
    found = {op.function: op for op in model.main.stages[0].ops if isinstance(op, Activate)}
    assert found["leaky_relu"].alpha == pytest.approx(0.2)
    assert (found["clip"].alpha, found["clip"].beta) == (-0.5, 0.25)


@pytest.mark.parametrize(
    ("after", "complaint"),
    [
        (lambda y: y.cumsum(1), r"'cumsum' \(aten.cumsum.default\) is an unsupported operation"),
        (lambda y: y.sort(-1).values, r"aten.sort"),
        (lambda y: y + torch.rand(4), r"aten.rand"),
        (lambda y: F.dropout(y, 0.5, training=True), r"drops values even in evaluation mode"),
        (lambda y: F.threshold(y, 0.1, 3.0), r"gives 3.0; 0 is allowed"),
        (lambda y: F.adaptive_avg_pool1d(y, 2), r"pools to \[2\] values"),
        (
            lambda y: F.instance_norm(y.transpose(1, 2)),
            r"normalises by the batch's own mean|unsupported operation",
        ),
        (lambda y: y @ y.transpose(1, 2), "attention scores or weights, which are not kept"),
    ],
)
def test_what_is_not_imported_is_refused_in_a_sentence(
    after: Callable[[Tensor], Tensor], complaint: str
) -> None:
    with pytest.raises(StepcellError, match=complaint) as refused:
        imported(Around(after))
    assert "\n" not in refused.value.message
    assert refused.value.hint
