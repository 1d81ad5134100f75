"""PyTorch modules that users write: a recurrent layer and a head."""

import io
import logging
import warnings
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

HEADS = ("last", "hidden", "linear_last", "mean", "max", "every", "every_softmax", "tanh_mean")
CELLS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
INPUTS = 3


class Network(nn.Module):
    """[N, T, 3] or [T, N, 3] -> a prelude -> 1-3 recurrent layers -> a head with 4 outputs."""

    def __init__(
        self,
        cell: str,
        head: str,
        layers: int = 1,
        batch_first: bool = True,
        bias: bool = True,
        prelude: bool = False,
        bidirectional: bool = False,
        hidden: int = 5,
    ) -> None:
        super().__init__()
        kinds: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU}
        options: dict[str, Any] = (
            {"nonlinearity": cell.removeprefix("rnn_")} if cell.startswith("rnn") else {}
        )
        width = 6 if prelude else INPUTS
        self.recurrent = kinds.get(cell, nn.RNN)(
            width,
            hidden,
            layers,
            bias=bias,
            batch_first=batch_first,
            bidirectional=bidirectional,
            dropout=0.3 if layers > 1 else 0.0,
            **options,
        )
        self.prelude = nn.Sequential(nn.Linear(INPUTS, 6), nn.ReLU()) if prelude else nn.Identity()
        self.linear = nn.Linear(hidden * (2 if bidirectional else 1), 4, bias=bias)
        self.head, self.time = head, 1 if batch_first else 0

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 3] or [T, N, 3] -> [N, 4], or [N, T, 4] or [T, N, 4]."""
        y, state = self.recurrent(self.prelude(x))
        hidden = state[0] if isinstance(state, tuple) else state
        match self.head:
            case "last":
                return self.out(y.select(self.time, -1))
            case "hidden":
                return self.out(hidden[-1])
            case "linear_last":
                return torch.relu(self.out(y)).select(self.time, -1)
            case "mean":
                return self.out(y.mean(self.time))
            case "max":
                return self.out(y.max(self.time).values)
            case "tanh_mean":
                return torch.tanh(self.out(y)).mean(self.time)
            case "every_softmax":
                return torch.softmax(self.out(y), -1)
            case _:
                return self.out(y)

    def out(self, y: Tensor) -> Tensor:
        """The head's linear layer."""
        found: Tensor = self.linear(y)
        return found


def networks() -> st.SearchStrategy[Network]:
    """Any forward network."""
    return st.builds(
        Network,
        st.sampled_from(CELLS),
        st.sampled_from(HEADS),
        st.integers(1, 3),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        hidden=st.integers(1, 9),
    )


def exported(module: nn.Module, example: Tensor, dynamo: bool, free: bool) -> bytes:
    """The ONNX file that an exporter makes; `free` leaves batch (legacy: and time) open."""
    batch, time = (0, 1) if getattr(module, "time", 1) == 1 else (1, 0)
    file = io.BytesIO()
    legacy: Any = torch.onnx.export  # it takes a file object, which its annotation does not say
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dynamo:
                shapes = ({batch: torch.export.Dim("batch")},) if free else None
                made = torch.onnx.export(
                    module.eval(),
                    (example,),
                    dynamo=True,
                    opset_version=20,
                    dynamic_shapes=shapes,
                    verbose=False,
                )
                assert made is not None
                made.save(file)  # type: ignore[arg-type]
            else:
                axes = {"x": {batch: "b", time: "t"}} if free else None
                legacy(
                    module.eval(),
                    (example,),
                    file,
                    dynamo=False,
                    opset_version=17,
                    input_names=["x"],
                    output_names=["y"],
                    dynamic_axes=axes,
                )
    finally:
        logging.disable(logging.NOTSET)
    return file.getvalue()
