"""The exported integer graph equals the integer reference bit for bit, whoever evaluates it."""

from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from random_models import HEADS, LAYERS, PRELUDES, random_frames, random_qmodel
from stepcell.exporters.integer_onnx import export_integer
from stepcell.ir.qfunctions import QArgMax, QEmbed
from stepcell.ir.qmodel import IntArray, QAppend, QAttend, QHold, QModel, QOp, q_matrices
from stepcell.ir.qtflite import QTfliteDense, QTfliteLstm, QTfliteTable
from stepcell.quantize.context import Activations
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_session import run_integer_in_onnx_runtime

MODELS_A_SEED = 12
MANY = ("function", "function_of_positive", "reduction")
"""Preludes that draw one of many operations."""
PAIRS = [
    (prelude, head)
    for i, prelude in enumerate(PRELUDES)
    for head in (HEADS if prelude in MANY else sorted({HEADS[i % len(HEADS)], HEADS[3 * i % len(HEADS)]}))
]
"""Preludes and heads: two heads for most preludes."""


def _evaluate(model: onnx.ModelProto, x: IntArray, optimized: bool) -> dict[str, IntArray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x}), strict=True))


def _stored(qmodel: QModel, x: IntArray) -> IntArray:
    return x.astype(np.int8 if qmodel.main.inputs[0].bits == 8 else np.int16)


def _differences(qmodel: QModel, x: IntArray, found: dict[str, IntArray]) -> list[str]:
    run = run_integer(qmodel, x)
    expected = {qmodel.main.outputs[0].value.name: run.output}
    expected |= {f"states/{name}": array for name, array in run.states.items()}
    expected |= {f"final/{name}": array[:, -1] for name, array in run.states.items()}
    assert list(expected) == list(found)
    return [name for name, array in expected.items() if not np.array_equal(array, found[name])]


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("seed", range(6))
def test_random_models_equal_the_reference_in_onnx_runtime(seed: int, activations: Activations) -> None:
    rng = np.random.default_rng([seed, len(activations)])
    for _ in range(MODELS_A_SEED):
        qmodel, _ = random_qmodel(rng, activations, max_units=48, attention=None)
        x = random_frames(rng, qmodel)
        lengths = rng.integers(1, x.shape[1] + 1, len(x))
        run = run_integer(qmodel, x, lengths)
        outputs, states = run_integer_in_onnx_runtime(export_integer(qmodel), x, lengths)
        (output,) = outputs.values()
        assert np.array_equal(output, run.output)
        assert states.keys() == run.states.keys()
        assert all(np.array_equal(states[name], run.states[name]) for name in states)


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("style", ["gaussian", "extremes"])
def test_large_layers_equal_the_reference_with_and_without_optimizations(
    layer: str, style: str, optimized: bool
) -> None:
    rng = np.random.default_rng([LAYERS.index(layer), len(style)])
    qmodel, _ = random_qmodel(rng, layers=(layer, layer), style=style, max_units=130)
    x = random_frames(rng, qmodel, count=8, steps=12)
    found = _evaluate(export_integer(qmodel), _stored(qmodel, x), optimized)
    assert _differences(qmodel, x, found) == []


@pytest.mark.parametrize(("prelude", "head"), PAIRS)
def test_every_operation_equals_the_reference_without_optimizations(prelude: str, head: str) -> None:
    rng = np.random.default_rng([PRELUDES.index(prelude), HEADS.index(head)])
    qmodel, _ = random_qmodel(rng, prelude=prelude, head=head, max_units=8)
    x = random_frames(rng, qmodel)
    found = _evaluate(export_integer(qmodel), _stored(qmodel, x), optimized=False)
    assert _differences(qmodel, x, found) == []


def test_the_random_models_have_every_operation() -> None:
    found: set[type] = set()
    for prelude, head in PAIRS:
        rng = np.random.default_rng([PRELUDES.index(prelude), HEADS.index(head)])
        qmodel, _ = random_qmodel(rng, prelude=prelude, head=head, max_units=8)
        found |= {type(op) for op in qmodel.all_ops}
    elsewhere = {QHold, QArgMax, QEmbed, QTfliteDense, QTfliteLstm, QTfliteTable}  # delta, tokens, TFLite
    elsewhere |= {QAppend, QAttend}  # attention
    assert found == set(get_args(QOp)) - elsewhere


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("head", ["mean_max", "every_step_sigmoid"])
def test_the_evaluator_of_the_onnx_package_agrees(layer: str, head: str) -> None:
    rng = np.random.default_rng([LAYERS.index(layer), len(head)])
    qmodel, _ = random_qmodel(rng, layers=(layer,), head=head, prelude="standardize", max_units=6)
    x = random_frames(rng, qmodel, count=2, steps=3)
    evaluator = ReferenceEvaluator(export_integer(qmodel))
    found = list(evaluator.run(None, {qmodel.main.inputs[0].name: _stored(qmodel, x)}))
    assert _differences(qmodel, x, dict(zip(evaluator.output_names, found, strict=True))) == []


def test_one_session_takes_any_batch_and_any_time() -> None:
    rng = np.random.default_rng(1)
    qmodel, _ = random_qmodel(rng, layers=("gru_after",), head="last", max_units=9)
    model = export_integer(qmodel)
    for count, steps in ((1, 1), (3, 1), (1, 40), (17, 5)):
        x = random_frames(rng, qmodel, count, steps)
        assert _differences(qmodel, x, _evaluate(model, _stored(qmodel, x), optimized=True)) == []


def test_chunks_of_sequences_are_joined_and_a_file_serves_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    qmodel, _ = random_qmodel(rng, layers=("lstm",), head="mean", max_units=9)
    x = random_frames(rng, qmodel, count=11)
    onnx.save(export_integer(qmodel), tmp_path / "integer.onnx")
    monkeypatch.setattr("stepcell.reference.integer_session.BYTES_AT_ONCE", 2000)
    outputs, states = run_integer_in_onnx_runtime(tmp_path / "integer.onnx", x)
    run = run_integer(qmodel, x)
    (output,) = outputs.values()
    assert np.array_equal(output, run.output)
    assert all(np.array_equal(states[name], run.states[name]) for name in run.states)


def test_frames_that_do_not_fit_the_input_are_refused() -> None:
    rng = np.random.default_rng(2)
    qmodel, _ = random_qmodel(rng, layers=("lstm",), prelude="none", max_units=9)
    x = random_frames(rng, qmodel) + 300
    with pytest.raises(ValueError, match="x does not fit"):
        run_integer_in_onnx_runtime(export_integer(qmodel), x)


def test_the_file_is_the_same_in_every_run_and_holds_int8_weights() -> None:
    qmodel, _ = random_qmodel(np.random.default_rng(7), layers=("gru_after",), prelude="none", features=30)
    model = export_integer(qmodel)
    assert model.SerializeToString() == export_integer(qmodel).SerializeToString()
    weights = sum(matrix.weights.size for op in qmodel.all_ops for matrix in q_matrices(op))
    rows = sum(len(matrix.weights) for op in qmodel.all_ops for matrix in q_matrices(op))
    assert model.ByteSize() < weights + 12 * rows + 12_000


def test_only_standard_operators_on_integers() -> None:
    qmodel, _ = random_qmodel(np.random.default_rng(7), layers=("lstm",), head="mean_max", max_units=9)
    model = export_integer(qmodel)
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    (body,) = (attribute.g for attribute in scan.attribute if attribute.name == "body")
    assert [opset.domain for opset in model.opset_import] == [""]
    assert {node.domain for graph in (model.graph, body) for node in graph.node} == {""}
    integers = {onnx.TensorProto.INT8, onnx.TensorProto.INT32, onnx.TensorProto.INT64}
    assert {tensor.data_type for graph in (model.graph, body) for tensor in graph.initializer} <= integers
    stored = {output.name: output.type.tensor_type.elem_type for output in model.graph.output}
    for state in qmodel.states:
        expected = {16: onnx.TensorProto.INT16, 32: onnx.TensorProto.INT32}[state.value.bits]
        assert stored[f"states/{state.value.name}"] == stored[f"final/{state.value.name}"] == expected
