"""An LSTM whose cell is clipped, as TensorFlow Lite has it: everywhere that a Model goes."""

from dataclasses import replace

import numpy as np
import pytest

from random_bundles import sized_float_model
from stepcell.exporters.float_onnx import export_float
from stepcell.ir import Model, verify
from stepcell.ir.ops import Lstm
from stepcell.ir.qmodel import QLstm
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_data import quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_integer


def clipped(limit: float | None) -> Model:
    rng = np.random.default_rng(1)
    model = sized_float_model(rng, "clipped", ("lstm",), 4, 6, 3, "dense")
    (stage,) = model.main.stages
    ops = tuple(replace(op, cell_clip=limit) if isinstance(op, Lstm) else op for op in stage.ops)
    return verify(replace(model, functions=(replace(model.main, stages=(replace(stage, ops=ops),)),)))


def data() -> Sequences:
    x = np.random.default_rng(2).normal(0, 1, (6, 20, 4))
    return Sequences(x, np.full(6, 20))


def floats(model: Model) -> np.ndarray:
    run = run_float(model, data().x, data().lengths)
    return np.asarray(run.outputs(model.main)[model.main.outputs[0]])


@pytest.mark.parametrize("limit", [0.1, 0.4])
def test_a_limit_that_is_reached_is_kept_in_onnx_and_in_integers(limit: float) -> None:
    import onnxruntime

    model, sequences = clipped(limit), data()
    expected = floats(model)
    assert np.abs(expected - floats(clipped(None))).max() > 1e-3
    session = onnxruntime.InferenceSession(export_float(model).SerializeToString())
    (x,) = (i.name for i in session.get_inputs() if i.name not in {s.name for s in model.states})
    found = session.run([session.get_outputs()[0].name], {x: sequences.x.astype(np.float32)})[0]
    assert np.abs(found.reshape(expected.shape) - expected).max() < 1e-5
    qmodel = quantize(model, sequences)
    assert not any(isinstance(op, QLstm) for op in qmodel.all_ops)
    feed = quantize_sequences(qmodel, sequences)["main"]
    run = run_integer(qmodel, feed.inputs, feed.lengths)
    (integers,) = real_outputs(qmodel.main, run.outputs, feed.lengths).values()
    assert np.abs(integers.reshape(expected.shape) - expected).max() < 0.05


def test_a_limit_that_calibration_never_reaches_keeps_the_kernel() -> None:
    qmodel = quantize(clipped(10.0), data())
    assert any(isinstance(op, QLstm) for op in qmodel.all_ops)
