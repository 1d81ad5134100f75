"""PyTorch modules with attention over the steps of a recurrent layer, as users write them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

INPUTS, HIDDEN = 3, 8


class Pooling(nn.Module):
    """softmax over time of v . tanh(W h + b), or of a linear score; then the weighted sum of h."""

    def __init__(self, form: str, tanh: bool = True, bidirectional: bool = False, heads: int = 1) -> None:
        super().__init__()
        self.form, self.time = form, 1
        units = HIDDEN // 2 if bidirectional else HIDDEN
        self.recurrent = nn.GRU(INPUTS, units, batch_first=True, bidirectional=bidirectional)
        hidden = nn.Sequential(nn.Linear(HIDDEN, 5), nn.Tanh(), nn.Linear(5, heads, bias=False))
        self.score = hidden if tanh else nn.Linear(HIDDEN, heads)
        self.out = nn.Linear(HIDDEN * heads, 4)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 3] -> [N, 4]."""
        h, _ = self.recurrent(x)
        scores = self.score(h)
        w = torch.softmax(scores, dim=1)
        match self.form:
            case "mul":
                y = (w * h).sum(1)
            case "matmul":
                y = torch.matmul(w.transpose(1, 2), h).flatten(1)
            case "bmm":
                y = torch.bmm(h.transpose(1, 2), w).transpose(1, 2).flatten(1)
            case "einsum":
                y = torch.einsum("btk,bth->bkh", w, h).flatten(1)
            case "squeeze":
                y = torch.bmm(torch.softmax(scores.squeeze(-1), -1).unsqueeze(1), h).squeeze(1)
        found: Tensor = self.out(y)
        return found


class Keyword(nn.Module):
    """de Andrade 2018: the query is a linear layer of the last output, the keys are all outputs."""

    def __init__(self, form: str = "bmm", scaled: bool = False, bidirectional: bool = True) -> None:
        super().__init__()
        self.form, self.scaled, self.time = form, scaled, 1
        units = HIDDEN // 2 if bidirectional else HIDDEN
        self.recurrent = nn.LSTM(INPUTS, units, 2, batch_first=True, bidirectional=bidirectional)
        self.query, self.dense, self.out = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 3] -> [N, 4]."""
        h, _ = self.recurrent(x)
        query = self.query(h[:, -1])
        if self.form == "mul":
            scores = (h * query.unsqueeze(1)).sum(-1)
        elif self.form == "einsum":
            scores = torch.einsum("bth,bh->bt", h, query)
        else:
            scores = torch.bmm(h, query.unsqueeze(-1)).squeeze(-1)
        w = torch.softmax(scores / math.sqrt(HIDDEN) if self.scaled else scores, -1)
        y = (w.unsqueeze(-1) * h).sum(1) if self.form == "mul" else torch.bmm(w.unsqueeze(1), h).squeeze(1)
        found: Tensor = self.out(torch.relu(self.dense(y)))
        return found


class SelfAttention(nn.Module):
    """Every step's query over all steps, or (causal) over those so far."""

    def __init__(
        self,
        form: str,
        heads: int = 1,
        bidirectional: bool = False,
        causal: bool = False,
        head: str = "every",
    ) -> None:
        super().__init__()
        self.form, self.heads, self.causal, self.head, self.time = form, heads, causal, head, 1
        units = HIDDEN // 2 if bidirectional else HIDDEN
        self.recurrent = nn.GRU(INPUTS, units, batch_first=True, bidirectional=bidirectional)
        self.q, self.k, self.v = (nn.Linear(HIDDEN, HIDDEN) for _ in range(3))
        self.out, self.after = nn.Linear(HIDDEN, 4), nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.attention = nn.MultiheadAttention(HIDDEN, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, 3] -> [N, T, 4], or [N, 4] where the head reads the mean or the last step."""
        h, _ = self.recurrent(x)
        y = h + (self.attention(h, h, h, need_weights=False)[0] if self.form == "module" else self.mixed(h))
        if self.head == "recurrent":
            y, _ = self.after(y)
        y = y.mean(1) if self.head == "mean" else y[:, -1] if self.head == "last" else y
        found: Tensor = self.out(y)
        return found

    def mixed(self, h: Tensor) -> Tensor:
        """The attention written out."""
        n, t, _ = h.shape
        q, k, v = (layer(h).view(n, t, self.heads, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
        if self.form == "function":
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
            if self.causal:
                later = torch.ones(t, t, dtype=torch.bool).triu(1)
                scores = scores.masked_fill(later, float("-inf"))
            y = torch.softmax(scores, -1) @ v
        return y.transpose(1, 2).reshape(n, t, HIDDEN)


MODULES: dict[str, Callable[[], nn.Module]] = {
    "pooling mul": lambda: Pooling("mul"),
    "pooling matmul": lambda: Pooling("matmul"),
    "pooling bmm": lambda: Pooling("bmm"),
    "pooling squeezed": lambda: Pooling("squeeze"),
    "pooling einsum": lambda: Pooling("einsum"),
    "pooling linear, bidirectional": lambda: Pooling("mul", tanh=False, bidirectional=True),
    "pooling of three heads": lambda: Pooling("matmul", heads=3),
    "keyword": Keyword,
    "keyword mul": lambda: Keyword("mul"),
    "keyword einsum": lambda: Keyword("einsum"),
    "keyword scaled, forward": lambda: Keyword(scaled=True, bidirectional=False),
    "self function": lambda: SelfAttention("function", bidirectional=True),
    "self function, two heads": lambda: SelfAttention("function", heads=2),
    "self module": lambda: SelfAttention("module", bidirectional=True),
    "self module, two heads": lambda: SelfAttention("module", heads=2),
    "self matmul": lambda: SelfAttention("matmul", bidirectional=True),
    "self matmul, four heads": lambda: SelfAttention("matmul", heads=4),
    "self, mean": lambda: SelfAttention("matmul", head="mean"),
    "self, last": lambda: SelfAttention("matmul", head="last"),
    "self, then a GRU": lambda: SelfAttention("matmul", head="recurrent"),
    "causal function": lambda: SelfAttention("function", heads=2, causal=True),
    "causal matmul": lambda: SelfAttention("matmul", causal=True),
    "causal, bidirectional": lambda: SelfAttention("function", bidirectional=True, causal=True),
}
