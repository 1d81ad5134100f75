"""Exported programs (.pt2), files of weights, and factories that return several modules."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.ir import Model
from stepcell.ir.model import recurrent_ops
from stepcell.reference.float_model import run_float

INPUTS, UNITS = 3, 4


class Tagger(nn.Module):
    """A GRU that takes its state, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recurrent, self.head = nn.GRU(INPUTS, UNITS, batch_first=True), nn.Linear(UNITS, 2)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, T, 3], h [1, N, 4] -> y [N, T, 2], h."""
        y, h = self.recurrent(x, h)
        return self.head(y).reshape(x.shape[0], x.shape[1], 2), h


def saved(path: Path, module: nn.Module, *example: Tensor, **options: Any) -> Path:
    torch.export.save(torch.export.export(module.eval(), example, **options), path)
    return path


@pytest.mark.parametrize("free", [False, True])
def test_exported_programs_import(free: bool, tmp_path: Path) -> None:
    batch = torch.export.Dim("batch")
    options = {"dynamic_shapes": ({0: batch}, {1: batch})} if free else {}
    example = (torch.zeros(2, 5, INPUTS), torch.zeros(1, 2, UNITS))
    path = saved(tmp_path / "tagger.pt2", Tagger(), *example, **options)
    model = import_model(path)
    assert model.name == "tagger"
    assert model.source is not None
    assert model.source.inputs[0].shape == (None if free else 2, 5, INPUTS)
    assert len(model.source.sha256) == 64
    assert [(s.tensor_in, s.tensor_out) for s in model.source.states] == [("h", "output_1")]


def test_a_program_computes_what_its_module_computes(tmp_path: Path) -> None:
    module = Tagger()
    example = (torch.zeros(1, 5, INPUTS), torch.zeros(1, 1, UNITS))
    model = import_model(saved(tmp_path / "m.pt2", module, *example))
    x = torch.randn(3, 9, INPUTS)
    with torch.no_grad():
        wanted = module(x, torch.zeros(1, 3, UNITS))[0].numpy()
    found = run_float(model, x.numpy()).steps[model.main.outputs[0]]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_program_with_loops_and_keyword_arguments_imports(tmp_path: Path) -> None:
    class Loops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(INPUTS, UNITS)

        def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
            h = c = x.new_zeros(x.shape[0], UNITS)
            for t in range(x.shape[1]):
                h, c = self.cell(x[:, t] * scale[:, t], (h, c))
            return h

    program = torch.export.export(Loops(), (torch.zeros(1, 6, INPUTS),), {"scale": torch.ones(1, 6, INPUTS)})
    torch.export.save(program, tmp_path / "m.pt2")
    model = import_model(tmp_path / "m.pt2")
    assert [value.name for value in model.main.inputs] == ["x", "scale"]
    assert len(recurrent_ops(model)) == 1


def changed(source: Path, target: Path, change: Callable[[dict[str, Any]], None], part: str) -> Path:
    """A copy of a program with one of its JSON documents changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(part):
                document = json.loads(content)
                change(document)
                content = json.dumps(document).encode()
            new.writestr(name, content)
    return target


def pickles_its_weights(document: dict[str, Any]) -> None:
    next(iter(document["config"].values()))["use_pickle"] = True


def evaluates(document: dict[str, Any]) -> None:
    text = "__import__('os').system('touch stolen')"
    document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0] = {
        "as_expr": {"expr_str": text, "hint": {"as_int": 2}}
    }


def calls(document: dict[str, Any]) -> None:
    document["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def guards(document: dict[str, Any]) -> None:
    document["guards_code"] = ["exec('import os')"]


@pytest.mark.parametrize(
    ("change", "part", "complaint"),
    [
        (pickles_its_weights, "weights_config.json", "holds pickled tensors"),
        (evaluates, "models/model.json", "states the size"),
        (calls, "models/model.json", "calls 'torch.hub.load'"),
        (guards, "models/model.json", "more than comparisons of sizes"),
    ],
)
def test_programs_that_could_run_code_are_refused_unread(
    change: Callable[[dict[str, Any]], None],
    part: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("the file was loaded"))
    example = (torch.zeros(2, 5, INPUTS), torch.zeros(1, 2, UNITS))
    source = saved(tmp_path / "m.pt2", Tagger(), *example)
    with pytest.raises(StepcellError, match=complaint) as refused:
        import_model(changed(source, tmp_path / "changed.pt2", change, part))
    assert refused.value.hint


class Touches:
    """Unpickled, it leaves a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return open, (self.path, "w")


def test_example_inputs_that_are_pickled_code_do_not_run(tmp_path: Path) -> None:
    example = (torch.zeros(2, 5, INPUTS), torch.zeros(1, 2, UNITS))
    source, target = saved(tmp_path / "m.pt2", Tagger(), *example), tmp_path / "changed.pt2"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            stolen = pickle.dumps(Touches(str(tmp_path / "stolen")))
            new.writestr(name, stolen if "sample_inputs" in name else old.read(name))
    with pytest.raises(StepcellError, match="does not load it"):
        import_model(target)
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04"])
def test_what_is_no_program_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(content)
    with pytest.raises(StepcellError, match=r"no program that torch.export.save wrote"):
        import_model(tmp_path / "m.pt2")


def test_a_missing_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="there is no such file"):
        import_model(tmp_path / "m.pt2")


FACTORY = f"""
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.recurrent = nn.Embedding(9, 5), nn.GRU(5, {UNITS}, 2, batch_first=True)
    def forward(self, letters):
        return {{"h": self.recurrent(self.embedding(letters))[1]}}

class Decoder(nn.Module):
    def __init__(self, embedding=None):
        super().__init__()
        self.embedding = embedding or nn.Embedding(9, 5)
        self.recurrent, self.head = nn.GRU(5, {UNITS}, 2, batch_first=True), nn.Linear({UNITS}, 9)
    def forward(self, said, h):
        y, h = self.recurrent(self.embedding(said), h)
        return {{"next": self.head(y), "h": h}}

class Other(Decoder):
    def forward(self, said, start):
        y, end = self.recurrent(self.embedding(said), start)
        return self.head(y), end

class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, {UNITS})
    def forward(self, x, h):
        h = self.cell(x, h)
        return h * 1.0, h

def several():
    return {{"encode": Encoder(), "decode": Decoder()}}
def tied():
    encoder = Encoder()
    return {{"encode": encoder, "decode": Decoder(encoder.embedding)}}
def named():
    return {{"encode": Encoder(), "decode": Other()}}
def steps():
    return {{"listen": Step(), "speak": Step()}}
def single():
    return nn.GRU(3, {UNITS}, batch_first=True)
"""
SHAPES = {"encode.letters": (1, "T", "int"), "decode.said": (1, "T", "int"), "decode.h": (2, 1, UNITS)}


def from_factory(folder: Path, spec: str, **options: Any) -> Model:
    (folder / "factory.py").write_text(FACTORY)
    return import_model(f"{folder}/factory.py:{spec}", **options)


def test_modules_share_the_state_of_equal_name(tmp_path: Path) -> None:
    model = from_factory(tmp_path, "several", shapes=SHAPES)
    assert [function.name for function in model.functions] == ["encode", "decode"]
    assert [state.name for state in model.states] == ["h_0", "h_1"]
    assert model.source is not None
    assert [name for name, _ in model.source.parts] == ["encode", "decode"]
    assert [s.state for s in model.source.parts[1][1].states] == ["h_0", "h_1"]
    assert model.functions[1].outputs == ("next",)


def test_the_functions_compute_what_the_modules_compute_one_after_the_other(tmp_path: Path) -> None:
    model = from_factory(tmp_path, "several", shapes=SHAPES)
    torch.manual_seed(0)
    namespace: dict[str, Any] = {}
    exec(FACTORY, namespace)
    modules = namespace["several"]()
    torch.save(nn.ModuleDict(modules).state_dict(), tmp_path / "weights.pt")
    model = from_factory(tmp_path, "several", shapes=SHAPES, weights=tmp_path / "weights.pt")
    letters, said = torch.randint(0, 9, (3, 6)), torch.randint(0, 9, (3, 4))
    with torch.no_grad():
        wanted = modules["decode"](said, modules["encode"](letters)["h"])["next"].numpy()
    states = run_float(model, letters.numpy(), function="encode").ends
    initial = {state.name: states[state.name] for state in model.states}
    found = run_float(model, said.numpy(), function="decode", initial=initial).steps["next"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("nested", [False, True])
def test_weights_of_several_modules_are_one_file(nested: bool, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(FACTORY, namespace)
    modules = namespace["several"]()
    weights = (
        {name: module.state_dict() for name, module in modules.items()}
        if nested
        else nn.ModuleDict(modules).state_dict()
    )
    torch.save(weights, tmp_path / "weights.pt")
    model = from_factory(tmp_path, "several", shapes=SHAPES, weights=tmp_path / "weights.pt")
    table = modules["encode"].state_dict()["embedding.weight"].numpy()
    np.testing.assert_allclose(model.weights["encode_embedding1_table"], table)


def test_shared_parameters_are_stored_once(tmp_path: Path) -> None:
    model = from_factory(tmp_path, "tied", shapes=SHAPES)
    assert [name for name in model.weights if name.endswith("_table")] == ["encode_embedding1_table"]


@pytest.mark.parametrize("states", [{"decode.start": "encode.h"}])
def test_states_of_other_names_are_linked_by_the_user(states: dict[str, str], tmp_path: Path) -> None:
    shapes = {**SHAPES, "decode.start": SHAPES["decode.h"]}
    del shapes["decode.h"]
    model = from_factory(tmp_path, "named", shapes=shapes, states=states)
    assert [state.name for state in model.states] == ["start_0", "start_1"]
    apart = from_factory(tmp_path, "named", shapes=shapes)
    assert len(apart.states) == 4


def test_two_step_functions_share_the_state_that_both_take(tmp_path: Path) -> None:
    shapes = {f"{f}.{x}": (1, n) for f in ("listen", "speak") for x, n in (("x", 3), ("h", UNITS))}
    model = from_factory(tmp_path, "steps", shapes=shapes)
    assert [state.name for state in model.states] == ["h"]
    assert [function.is_step for function in model.functions] == [True, True]


@pytest.mark.parametrize(
    ("states", "complaint"),
    [
        ({"decode.h": "listen.h"}, "names no function; there are encode, decode"),
        ({"h": "h"}, "names no function"),
        ({"decode.h": "encode.c"}, "'encode' has no state 'c'; it has h"),
        ({"decode.g": "encode.h"}, "'decode' has no state 'g'"),
    ],
)
def test_mistakes_with_links_are_named(states: dict[str, str], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match=complaint):
        from_factory(tmp_path, "several", shapes=SHAPES, states=states)


def test_a_function_without_a_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="the shape of the inputs of decode is not known"):
        from_factory(tmp_path, "several", shapes={"encode.letters": (1, "T", "int")})


def script(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.GRU(3, UNITS)), path)


WEIGHTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "module": (lambda p: torch.save(nn.GRU(3, UNITS), p), "a pickled module", "state_dict"),
    "torchscript": (script, "a TorchScript archive", "state_dict"),
    "other": (
        lambda p: torch.save(nn.LSTM(3, UNITS).state_dict(), p),
        "does not hold the module's",
        "state_dict",
    ),
    "list": (lambda p: torch.save([1, 2], p), "does not hold the module's weights, but list", "state_dict"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_other_files_of_weights_are_refused(kind: str, tmp_path: Path) -> None:
    save, complaint, hint = WEIGHTS[kind]
    save(tmp_path / "weights.pt")
    with pytest.raises(StepcellError, match=complaint) as refused:
        from_factory(tmp_path, "single", shapes={"x": (1, "T", 3)}, weights=tmp_path / "weights.pt")
    assert hint in refused.value.hint
    assert "\n" not in refused.value.message


def test_safetensors_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(StepcellError, match="safetensors files are not read") as refused:
        from_factory(tmp_path, "single", shapes={"x": (1, "T", 3)}, weights=tmp_path / "w.safetensors")
    assert "torch.save" in refused.value.hint


def test_a_checkpoint_of_a_training_script_is_read(tmp_path: Path) -> None:
    module = nn.GRU(3, UNITS, batch_first=True)
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, tmp_path / "weights.pt")
    model = from_factory(tmp_path, "single", shapes={"x": (1, "T", 3)}, weights=tmp_path / "weights.pt")
    bias = module.state_dict()["bias_hh_l0"].numpy()
    assert np.array_equal(model.weights["gru1_recurrent_bias"][:UNITS], bias[UNITS : 2 * UNITS])
