"""A decoder that attends to the outputs of an encoder: two functions that share a memory."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import attending_functions as factories
from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.importers import import_model
from stepcell.ir import Model
from stepcell.ir.ops import Append, Attend
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float_functions
from stepcell.reference.float_session import run_float_in_onnx_runtime

LENGTHS, STEPS = np.array([5, 20, 1]), np.array([4, 6, 7])
"""Of the encoder's and of the decoder's sequences."""
FILE = Path(factories.__file__)
HIDDEN = factories.HIDDEN
Shapes = dict[str, tuple[int | str, ...]]


@cache
def imported(kind: str, one_step: bool = False, named: bool = False) -> Model:
    """The Model of a factory; named: the memory is linked by --state."""
    states = {"decode.memory": "encode.memory"} if named else None
    phonemes: Shapes = {"decode.phoneme": (1, "int"), "decode.h": (1, HIDDEN)}
    many: Shapes = {"decode.phonemes": (1, "T", "int"), "decode.h": (1, 1, HIDDEN)}
    shapes: Shapes = {"encode.letters": (1, "T", "int"), **(phonemes if one_step else many)}
    shapes["decode.memory"] = (1, "T", HIDDEN)
    return import_model(f"{FILE}:{kind}", shapes=shapes, max_steps=20, states=states)


def data() -> Sequences:
    """Letters, and phonemes for the decoder."""
    random = np.random.default_rng(0)
    letters = random.integers(0, factories.LETTERS, (3, LENGTHS.max())).astype(float)
    phonemes = random.integers(0, factories.PHONEMES, (3, STEPS.max())).astype(float)
    return Sequences(letters, LENGTHS, then={"decode": Sequences(phonemes, STEPS)})


def by_modules(kind: str) -> list[np.ndarray[Any, Any]]:
    """What PyTorch computes: the decoder's output, for each sequence."""
    modules = getattr(factories, kind)()
    fed = data()
    found = []
    for n, (t, u) in enumerate(zip(LENGTHS, STEPS, strict=True)):
        with torch.no_grad():
            given = modules["encode"](torch.tensor(fed.x[n : n + 1, :t], dtype=torch.int64))
            h = given.get("h", torch.zeros(1, 1, HIDDEN))
            phonemes = torch.tensor(fed.then["decode"].x[n : n + 1, :u], dtype=torch.int64)
            found.append(decoded(modules["decode"], phonemes, h, given["memory"]))
    return found


def decoded(decoder: Any, phonemes: Any, h: Any, memory: Any) -> np.ndarray[Any, Any]:
    """[U, 9]: all steps in one call, or one a call."""
    if not isinstance(decoder, factories.CellDecoder):
        return np.asarray(decoder(phonemes, h, memory)["next"][0])
    steps, h = [], h[0]
    for phoneme in phonemes.T:
        out = decoder(phoneme, h, memory)
        h = out["h"]
        steps.append(out["next"][0].numpy())
    return np.stack(steps)


@pytest.mark.parametrize("kind", ["dot", "general", "projected", "heads", "bidirectional", "cell"])
def test_a_decoder_attends_to_what_the_encoder_stored(kind: str) -> None:
    model = imported(kind, one_step=kind == "cell")
    fed, wanted = data(), by_modules(kind)
    mine = run_float_functions(model, fed)["decode"].outputs(model.function("decode"))["next"]
    protos = {f.name: export_float(model, f.name) for f in model.functions}
    exported = run_float_in_onnx_runtime(model, protos, fed)["decode"]["next"]
    for n, steps in enumerate(STEPS):
        np.testing.assert_allclose(mine[n, :steps], wanted[n], atol=1e-5)
        np.testing.assert_allclose(exported[n, :steps], wanted[n], atol=1e-5)


def test_the_memory_is_a_state_that_the_encoder_fills_and_the_decoder_reads() -> None:
    model = imported("heads")
    assert model.state("memory").initial.shape == (20, HIDDEN)
    encode, decode = model.functions
    appends = [op for stage in encode.stages for op in stage.ops if isinstance(op, Append)]
    assert [op.memory for op in appends] == ["memory"]
    assert encode.outputs == ("h",)
    attends = [op for op in decode.stages[0].ops if isinstance(op, Attend)]
    assert [(op.keys, op.values, op.count) for op in attends] == [("memory", "memory", "memory_count")] * 2
    assert decode.is_step


def test_more_steps_than_the_memory_has_rows_are_an_error() -> None:
    model = imported("dot")
    letters = np.zeros((1, 21))
    with pytest.raises(StepcellError, match="21 steps; its memory for attention holds 20"):
        run_float_functions(model, Sequences(letters, np.array([21]), then=data().then))


def test_a_memory_may_be_named() -> None:
    model = imported("dot", named=True)
    assert model.state("memory").initial.shape == (20, HIDDEN)


def test_keys_that_are_no_affine_map_of_the_memory_are_refused_by_name() -> None:
    with pytest.raises(
        StepcellError, match=r"Decoder: node '.*' \(Tanh\) reads the steps of another function"
    ):
        imported("tanh")


FOREIGN = """
import torch
from torch import nn
from attending_functions import Decoder, Encoder


class Bridged(Encoder):
    def forward(self, letters):
        found = super().forward(letters)
        return {"memory": found["memory"], "h": torch.tanh(found["h"])}


def build():
    return {"encode": Bridged().eval(), "decode": Decoder("dot").eval()}
"""


def test_a_state_that_the_encoder_computes_is_not_left_out_silently(tmp_path: Path) -> None:
    (tmp_path / "bridged.py").write_text(FOREIGN)
    shapes: Shapes = {"encode.letters": (1, "T", "int"), "decode.phonemes": (1, "T", "int")}
    shapes |= {"decode.h": (1, 1, HIDDEN), "decode.memory": (1, "T", HIDDEN)}
    with pytest.raises(StepcellError, match=r"decode\.h has the name of encode\.h, which is computed"):
        import_model(f"{tmp_path / 'bridged.py'}:build", shapes=shapes, max_steps=20)
