"""Recurrent operations with all of their attributes, exported and run by ONNX Runtime, and imported again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from random_cells import BOUNDED, KINDS, cell_model, random_cell
from stepcell.exporters.float_onnx import export_float
from stepcell.importers.onnx import import_onnx
from stepcell.ir import Model
from stepcell.ir.model import recurrent_ops
from stepcell.ir.ops import Lstm, Rnn, Value
from stepcell.reference.float_model import run_float
from stepcell.reference.onnx_runtime import open_session

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, kind: str) -> Model:
    """One cell with everything drawn, 4 units over 3 features."""
    rng = np.random.default_rng(seed)
    return cell_model(random_cell(rng, kind, "x", 3, 4, gates=BOUNDED), Value("x", (3,)))


def differences(model: Model, proto: onnx.ModelProto) -> float:
    """The largest difference between the export in ONNX Runtime and the interpreter."""
    x = np.random.default_rng(1).normal(size=(2, 6, 3))
    session = open_session("export", proto.SerializeToString())
    found = session.run(None, {"x": x.astype(np.float32)})
    wanted = run_float(model, x).outputs(model.main).values()
    pairs = zip(found, wanted, strict=True)
    return max(float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(b)))) for a, b in pairs)


@settings(max_examples=80)
@given(SEEDS, st.sampled_from(KINDS))
def test_an_exported_cell_computes_the_same_in_onnx_runtime(seed: int, kind: str) -> None:
    model = drawn(seed, kind)
    assert differences(model, export_float(model)) < 1e-5


def test_a_projection_becomes_a_matrix_in_the_body_of_a_scan() -> None:
    """ONNX's LSTM has none; its one step reads x and h together and is projected behind."""
    model = next(m for m in (drawn(seed, "lstm") for seed in range(100)) if _lstm(m).projection)
    proto = export_float(model)
    (scan,) = (node for node in proto.graph.node if node.op_type == "Scan")
    inside = [node.op_type for node in scan.attribute[0].g.node]
    assert [kind for kind in inside if kind in ("Concat", "LSTM", "MatMul")] == ["Concat", "LSTM", "MatMul"]
    assert differences(model, proto) < 1e-5


def _lstm(model: Model) -> Lstm:
    (op,) = recurrent_ops(model)
    assert isinstance(op, Lstm)
    return op


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS)
def test_an_exported_cell_is_imported_as_it_was(seed: int, kind: str, tmp_path: Path) -> None:
    """A node over the sequence says everything but a projection."""
    model = drawn(seed, kind)
    (op,) = recurrent_ops(model)
    if isinstance(op, Lstm) and op.projection:
        return
    h_only = model.main.outputs[:1]
    (stage,) = model.main.stages
    function = replace(model.main, stages=(replace(stage, outputs=h_only),), outputs=h_only)
    proto = export_float(replace(model, functions=(function,)))
    onnx.save(proto, tmp_path / "cell.onnx")
    (again,) = recurrent_ops(import_onnx(tmp_path / "cell.onnx"))
    assert type(again) is type(op)
    for field in ("clip", "input_forget", "linear_before_reset"):
        assert getattr(again, field, None) == pytest.approx(getattr(op, field, None))
    gates = [(found.gate,) if isinstance(found, Rnn) else found.gates for found in (again, op)]
    assert [gate.function for gate in gates[0]] == [gate.function for gate in gates[1]]
    for found, wanted in zip(*gates, strict=True):
        assert (found.alpha, found.beta) == pytest.approx((wanted.alpha, wanted.beta))
