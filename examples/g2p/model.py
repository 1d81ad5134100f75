r"""g2p-en's encoder and decoder as PyTorch modules, each of which becomes a function of one Model.

    stepcell inspect examples/g2p/model.py:build --shape encode.letters=1,T,int \
        --shape decode.phonemes=1,T,int --shape decode.h=1,1,256

The decoder's input `h` is what the encoder returns under that name, so the two share a state.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from g2p.data import checkpoint
from stepcell.importers import import_model
from stepcell.ir import Model

UNITS = 256
SHAPES: dict[str, tuple[int | str | None, ...]] = {
    "encode.letters": (1, "T", "int"),
    "decode.phonemes": (1, "T", "int"),
    "decode.h": (1, 1, UNITS),
}


class Encoder(nn.Module):
    """Letters [N, T] -> the state after the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.recurrent = nn.Embedding(29, UNITS), nn.GRU(UNITS, UNITS, batch_first=True)

    def forward(self, letters: Tensor) -> dict[str, Tensor]:
        """h [1, N, 256]."""
        return {"h": self.recurrent(self.embedding(letters))[1]}


class Decoder(nn.Module):
    """The phonemes said so far [N, T] -> the next of each, and the state."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.recurrent = nn.Embedding(74, UNITS), nn.GRU(UNITS, UNITS, batch_first=True)
        self.output = nn.Linear(UNITS, 74)

    def forward(self, phonemes: Tensor, h: Tensor) -> dict[str, Tensor]:
        """next [N, T], h [1, N, 256]."""
        y, h = self.recurrent(self.embedding(phonemes), h)
        return {"next": self.output(y).argmax(-1), "h": h}


def build() -> dict[str, nn.Module]:
    """The two functions with g2p-en's weights."""
    arrays = {name: torch.from_numpy(array) for name, array in checkpoint().items()}
    encoder, decoder = Encoder(), Decoder()
    for module, prefix in ((encoder, "enc"), (decoder, "dec")):
        names = {
            "embedding.weight": "emb",
            "recurrent.weight_ih_l0": "w_ih",
            "recurrent.weight_hh_l0": "w_hh",
            "recurrent.bias_ih_l0": "b_ih",
            "recurrent.bias_hh_l0": "b_hh",
        }
        weights = {key: arrays[f"{prefix}_{name}"] for key, name in names.items()}
        if prefix == "dec":
            weights |= {"output.weight": arrays["fc_w"], "output.bias": arrays["fc_b"]}
        module.load_state_dict(weights)
    return {"encode": encoder, "decode": decoder}


def imported() -> Model:
    """The Model of the two, checked against the modules."""
    return import_model(f"{Path(__file__)}:build", name="g2p", shapes=SHAPES)
