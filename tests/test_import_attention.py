"""Attention over the steps of a sequence imports exactly, from every form it is written in, or is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from attending_modules import HIDDEN, INPUTS, MODULES, Keyword, Pooling, SelfAttention
from import_graphs import layer_file
from import_modules import exported
from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.importers.onnx import import_onnx
from stepcell.importers.pytorch import import_torch
from stepcell.ir import Model, all_ops, macs_at_end, macs_per_step, verify
from stepcell.ir.ops import Append, Attend
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from stepcell.reference.float_session import run_float_in_onnx_runtime
from stepcell.train import to_module

LENGTHS = np.array([1, 2, 9, 16, 23])
"""Longer than the examples and than what the import check runs."""
node = helper.make_node


@pytest.fixture(params=MODULES, scope="module")
def module(request: pytest.FixtureRequest) -> Any:
    """One of the modules, its weights random."""
    torch.manual_seed(3)
    return MODULES[request.param]().eval()


@pytest.fixture(scope="module")
def model(module: Any) -> Model:
    """What the module imports as."""
    return import_torch(module, torch.zeros(1, 7, INPUTS))


def sequences(seed: int = 0) -> np.ndarray[Any, Any]:
    """[N, T, 3]."""
    return np.random.default_rng(seed).standard_normal((len(LENGTHS), LENGTHS.max(), INPUTS))


def valid(output: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An output without what lies beyond a sequence's length."""
    every_step = output.shape[:2] == (len(LENGTHS), LENGTHS.max())
    return output[np.arange(LENGTHS.max()) < LENGTHS[:, None]] if every_step else output


def outputs(model: Model) -> np.ndarray[Any, Any]:
    """What the float interpreter computes."""
    (found,) = run_float(model, sequences(), LENGTHS).outputs(model.main).values()
    return valid(found)


def by_module(module: Any) -> np.ndarray[Any, Any]:
    """What PyTorch computes, one sequence after the other."""
    with torch.no_grad():
        runs = [
            module(torch.tensor(x[None, :n], dtype=torch.float32)).numpy()
            for x, n in zip(sequences(), LENGTHS, strict=True)
        ]
    return np.concatenate([run.reshape(-1, 4) for run in runs])


def test_a_module_imports_and_exports_exactly(module: Any, model: Model) -> None:
    wanted = by_module(module)
    np.testing.assert_allclose(outputs(model), wanted, atol=1e-5)
    data = Sequences(sequences(), LENGTHS)
    (found,) = run_float_in_onnx_runtime(model, {"main": export_float(model)}, data)["main"].values()
    np.testing.assert_allclose(valid(found), wanted, atol=1e-5)


@pytest.mark.parametrize("path", ["fused", "scan"])
def test_a_module_trains_as_the_interpreter_runs(model: Model, path: Any) -> None:
    trained = to_module(model, path)(torch.tensor(sequences(), dtype=torch.float32), torch.tensor(LENGTHS))
    np.testing.assert_allclose(valid(trained.detach().numpy()), outputs(model), atol=1e-5)
    trained.sum().backward()


def test_an_exported_file_imports_exactly(module: Any, tmp_path: Path) -> None:
    free = module.form != "module"  # of nn.MultiheadAttention the exporter fixes the number of steps
    (tmp_path / "model.onnx").write_bytes(
        exported(module, torch.zeros(2, 7, INPUTS), dynamo=False, free=free)
    )
    found = import_onnx(tmp_path / "model.onnx", max_steps=30 if free else None)
    assert rows(found) == (30 if free else 7)
    if free:
        np.testing.assert_allclose(outputs(found), by_module(module), atol=1e-5)


def test_a_file_of_the_other_exporter_imports_exactly(tmp_path: Path) -> None:
    made = MODULES["self module, two heads"]().eval()
    (tmp_path / "model.onnx").write_bytes(exported(made, torch.zeros(2, 7, INPUTS), dynamo=True, free=True))
    assert rows(import_onnx(tmp_path / "model.onnx")) == 7


def test_an_exported_program_imports_exactly(tmp_path: Path) -> None:
    from stepcell.importers import import_model

    torch.manual_seed(3)
    for k, made in enumerate((Pooling("bmm"), Keyword(), SelfAttention("function", heads=2))):
        path = tmp_path / f"program{k}.pt2"
        torch.export.save(torch.export.export(made.eval(), (torch.zeros(2, 7, INPUTS),)), path)
        model = import_model(path)
        assert rows(model) == 7


def rows(model: Model) -> int:
    """The rows of every memory."""
    (found,) = {op.y.shape[0] for op in all_ops(model) if isinstance(op, Append)}
    return found


def imported(made: Any, **options: Any) -> Model:
    """The Model of a module."""
    torch.manual_seed(3)
    return import_torch(made.eval(), torch.zeros(1, 7, INPUTS), **options)


def test_pooling_stores_scores_and_outputs_and_attends_once_at_the_end() -> None:
    model = imported(Pooling("mul"), max_steps=50)
    (stage,) = model.main.stages
    assert [op.y.shape for op in stage.ops if isinstance(op, Append)] == [(50, 1), (50, HIDDEN)]
    assert model.main.finish is not None
    (attend,) = (op for op in model.main.finish.ops if isinstance(op, Attend))
    assert attend.scale == 1.0
    assert macs_at_end(model) == 50 * (1 + HIDDEN) + HIDDEN * 4


def test_keys_that_are_the_values_are_stored_once() -> None:
    model = imported(Keyword(scaled=True))
    assert sum(isinstance(op, Append) for op in all_ops(model)) == 1
    (attend,) = (op for op in all_ops(model) if isinstance(op, Attend))
    assert attend.keys == attend.values
    np.testing.assert_allclose(attend.scale, HIDDEN**-0.5)


def test_self_attention_is_a_stage_after_the_one_that_stores() -> None:
    model = imported(SelfAttention("function", heads=2), max_steps=20)
    first, second = model.main.stages
    assert sum(isinstance(op, Append) for op in first.ops) == 4
    assert len({op.count for op in first.ops if isinstance(op, Append)}) == 1
    assert sum(isinstance(op, Attend) for op in second.ops) == 2
    assert macs_per_step(model) - macs_per_step(
        imported(SelfAttention("function", heads=2), max_steps=10)
    ) == (10 * 2 * HIDDEN)


def test_causal_attention_stays_in_one_stage() -> None:
    (stage,) = imported(SelfAttention("matmul", causal=True)).main.stages
    (attend,) = (op for op in stage.ops if isinstance(op, Attend))
    appended = [op.y.name for op in stage.ops if isinstance(op, Append)]
    assert {attend.keys, attend.values} == set(appended)


@pytest.mark.parametrize("causal", [False, True])
def test_a_sequence_longer_than_the_memory_is_an_error(causal: bool) -> None:
    model = imported(SelfAttention("matmul", causal=causal), max_steps=8)
    x = np.zeros((1, 9, INPUTS))
    run_float(model, x[:, :8])
    with pytest.raises(StepcellError, match="9 steps; its memory for attention holds 8"):
        run_float(model, x)
    with pytest.raises(StepcellError, match="9 steps; its memory for attention holds 8"):
        to_module(model)(torch.zeros(1, 9, INPUTS))


def test_the_exported_graph_of_a_pooling_fails_beyond_its_memory() -> None:
    import onnxruntime

    model = imported(Pooling("mul"), max_steps=8)
    session = onnxruntime.InferenceSession(export_float(model).SerializeToString())
    session.run(None, {"x": np.zeros((1, 8, INPUTS), np.float32)})
    with pytest.raises(Exception, match=r"rows_left|empty"):
        session.run(None, {"x": np.zeros((1, 9, INPUTS), np.float32)})


def malformed(model: Model, complaint: str, change: Callable[[Any], Any]) -> None:
    """verify's complaint about a model whose memory states are changed."""
    changed = replace(model, states=tuple(map(change, model.states)))
    with pytest.raises(ValueError, match=complaint):
        verify(changed)


def test_verify_checks_memories() -> None:
    model = imported(Pooling("mul"), max_steps=5)
    memory = {op.memory for op in all_ops(model) if isinstance(op, Append)}
    malformed(
        model,
        "does not start empty",
        lambda s: replace(s, initial=s.initial + 1) if s.name in memory else s,
    )
    malformed(model, "memory2", lambda s: replace(s, initial=s.initial[1:]) if s.name == "memory2" else s)
    (stage,) = model.main.stages
    still = replace(stage, updates=tuple(u for u in stage.updates if u[0] != "memory1_count"))
    function = replace(model.main, stages=(still,))
    with pytest.raises(ValueError, match="does not count the rows"):
        verify(replace(model, functions=(function,)))


class Refused(torch.nn.Module):
    """A GRU, and what is no dot-product attention over its steps."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.recurrent = kind, torch.nn.GRU(INPUTS, HIDDEN, batch_first=True)
        self.linear, self.score = torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.Linear(HIDDEN, 1)

    def forward(self, x: Any) -> Any:
        """x [N, T, 3] -> whatever the kind computes."""
        h, last = self.recurrent(x)
        query = self.linear(last[0])
        dots = torch.bmm(h, h.transpose(1, 2))
        match self.kind:
            case "additive":
                w = torch.softmax(self.score(torch.tanh(self.linear(h) + query.unsqueeze(1))), 1)
                return (w * h).sum(1)
            case "sigmoid":
                return torch.bmm(torch.sigmoid(dots), h)
            case "without softmax":
                return torch.bmm(dots, h)
            case "over queries":
                return torch.bmm(torch.softmax(dots, 1), h)
            case "weights":
                return torch.softmax(dots, -1)
            case "mean":
                return (torch.softmax(self.score(h), 1) * h).mean(1)
            case "masked by data":
                hidden = torch.where(x[:, None, :, 0] > 0, dots, torch.full_like(dots, -1e9))
                return torch.bmm(torch.softmax(hidden, -1), h)
            case "band":
                near = torch.ones(x.shape[1], x.shape[1]).tril(2).triu(-2)
                return torch.bmm(torch.softmax(dots + (1 - near) * -1e9, -1), h)
            case "gate":
                return (h * query.unsqueeze(1)).relu()
        raise AssertionError(self.kind)


REFUSALS = {
    "additive": "mixes values of every step with values of the whole sequence",
    "sigmoid": r"reads attention scores or weights, which may only be scaled and masked",
    "without softmax": "multiplies attention scores that no softmax has made weights of",
    "over queries": "multiplies attention weights by what is not the values of their steps",
    "weights": "the output 'output' is attention scores or weights",
    "mean": r"ReduceMean\) reads attention scores or weights",
    "masked by data": "depends on the input|unsupported",
    "band": "masks attention scores by a constant that is not causal",
    "gate": "mixes values of every step with values of the whole sequence",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_is_no_attention_over_steps_is_refused_by_name(kind: str) -> None:
    with pytest.raises(StepcellError, match=REFUSALS[kind]) as found:
        imported(Refused(kind))
    assert found.value.hint
    assert kind == "weights" or "node '" in found.value.message


def pooled(folder: Path, tail: Sequence[Any], **options: Any) -> Model:
    """A GRU over [T, B, 3] whose outputs h [T, B, 5] a tail reads."""
    squeezed = node("Squeeze", ["Y", "one"], ["h"])
    constants = {"one": np.array([1]), "axes": np.array([0]), "W_s": np.ones((5, 1), np.float32)}
    return import_onnx(layer_file(folder, "GRU", [squeezed, *tail], constants), **options)


POOLING = (
    node("MatMul", ["h", "W_s"], ["s"]),
    node("Softmax", ["s"], ["w"], axis=0),
    node("Mul", ["w", "h"], ["wh"]),
    node("ReduceSum", ["wh", "axes"], ["y"], keepdims=0),
)


def test_time_may_be_the_first_axis(tmp_path: Path) -> None:
    assert rows(pooled(tmp_path, POOLING, max_steps=12)) == 12


def test_a_fixed_number_of_steps_is_that_of_the_rows(tmp_path: Path) -> None:
    assert rows(pooled(tmp_path, POOLING, shapes={"x": (11, 1, 3)})) == 11


def test_steps_that_nothing_bounds_are_256(tmp_path: Path) -> None:
    assert rows(pooled(tmp_path, POOLING)) == 256
