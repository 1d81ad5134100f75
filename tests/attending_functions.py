"""Factories of an encoder and a decoder that attends to all the encoder's outputs, as users write them."""

import torch
from torch import Tensor, nn

HIDDEN, LETTERS, PHONEMES = 8, 12, 9


class Encoder(nn.Module):
    """Letters [N, T] -> the outputs of every step, and the state after the last one."""

    def __init__(self, bidirectional: bool = False, keeps: bool = True) -> None:
        super().__init__()
        units = HIDDEN // 2 if bidirectional else HIDDEN
        self.embedding = nn.Embedding(LETTERS, 6)
        self.recurrent = nn.GRU(6, units, batch_first=True, bidirectional=bidirectional)
        self.keeps = keeps

    def forward(self, letters: Tensor) -> dict[str, Tensor]:
        """memory [N, T, 8], h [1, N, 8]."""
        y, h = self.recurrent(self.embedding(letters))
        return {"memory": y, "h": h} if self.keeps else {"memory": y}


class Decoder(nn.Module):
    """Luong 2015: the query is the decoder's output, its context is joined with it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.embedding = kind, nn.Embedding(PHONEMES, 6)
        self.recurrent = nn.GRU(6, HIDDEN, batch_first=True)
        self.keys, self.values = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.attention = nn.MultiheadAttention(HIDDEN, 2, batch_first=True)
        self.combine, self.output = nn.Linear(2 * HIDDEN, HIDDEN), nn.Linear(HIDDEN, PHONEMES)

    def forward(self, phonemes: Tensor, h: Tensor, memory: Tensor) -> dict[str, Tensor]:
        """phonemes [N, U], h [1, N, 8], memory [N, T, 8] -> next [N, U, 9], h."""
        y, h = self.recurrent(self.embedding(phonemes), h)
        joined = torch.cat([self.context(y, memory), y], -1)
        return {"next": self.output(torch.tanh(self.combine(joined))), "h": h}

    def context(self, y: Tensor, memory: Tensor) -> Tensor:
        """[N, U, 8]: the mean of the memory for every query."""
        match self.kind:
            case "heads":
                found: Tensor = self.attention(y, memory, memory, need_weights=False)[0]
                return found
            case "projected":
                keys, values = self.keys(memory), self.values(memory)
            case "general":
                keys, values = self.keys(memory), memory
            case "tanh":
                keys, values = torch.tanh(self.keys(memory)), memory
            case _:
                keys, values = memory, memory
        attended: Tensor = torch.softmax(y @ keys.transpose(1, 2), -1) @ values
        return attended


class CellDecoder(nn.Module):
    """A decoder of which one call is one step."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(PHONEMES, 6), nn.GRUCell(6, HIDDEN)
        self.output = nn.Linear(2 * HIDDEN, PHONEMES)

    def forward(self, phoneme: Tensor, h: Tensor, memory: Tensor) -> dict[str, Tensor]:
        """phoneme [N], h [N, 8], memory [N, T, 8] -> next [N, 9], h."""
        h = self.cell(self.embedding(phoneme), h)
        weights = torch.softmax((memory * h.unsqueeze(1)).sum(-1), -1)
        context = torch.bmm(weights.unsqueeze(1), memory).squeeze(1)
        return {"next": self.output(torch.cat([context, h], -1)), "h": h}


def _pair(kind: str) -> dict[str, nn.Module]:
    torch.manual_seed(5)
    return {"encode": Encoder().eval(), "decode": Decoder(kind).eval()}


def dot() -> dict[str, nn.Module]:
    """Scores are products of outputs."""
    return _pair("dot")


def general() -> dict[str, nn.Module]:
    """Keys are a linear layer of the encoder's outputs."""
    return _pair("general")


def projected() -> dict[str, nn.Module]:
    """Keys and values are."""
    return _pair("projected")


def heads() -> dict[str, nn.Module]:
    """nn.MultiheadAttention of two heads."""
    return _pair("heads")


def tanh() -> dict[str, nn.Module]:
    """Keys are no affine map of the encoder's outputs."""
    return _pair("tanh")


def bidirectional() -> dict[str, nn.Module]:
    """A bidirectional encoder, of which only the memory is handed on."""
    torch.manual_seed(5)
    return {"encode": Encoder(bidirectional=True, keeps=False).eval(), "decode": Decoder("dot").eval()}


def cell() -> dict[str, nn.Module]:
    """One call of the decoder is one step."""
    torch.manual_seed(5)
    return {"encode": Encoder(keeps=False).eval(), "decode": CellDecoder().eval()}
