"""Tokens: embeddings, one-hot codes and classes, from the file to C."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import import_graphs
from random_bundles import compile_case, run_cases
from stepcell.build import build_host
from stepcell.exporters.integer_onnx import export_integer
from stepcell.importers.onnx import import_onnx
from stepcell.ir import Model
from stepcell.ir.model import all_ops
from stepcell.ir.ops import ArgMax, Dense, Embed
from stepcell.ir.qfunctions import QArgMax, QEmbed
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.run import run_host
from tools import require_tool

make = helper.make_node
VOCABULARY, WIDTH = 11, 4


def of_tokens(folder: Path, before: list[onnx.NodeProto], constants: dict[str, Any]) -> Model:
    """t [T, B] of integers -> before -> x [T, B, 4] -> GRU of 6 units -> Dense of 11 -> ArgMax."""
    rng = np.random.default_rng(3)
    tail = [
        make("Squeeze", ["Y", "one"], ["h"]),
        make("MatMul", ["h", "D"], ["logits"]),
        make("ArgMax", ["logits"], ["y"], axis=-1, keepdims=0),
    ]
    layer = import_graphs.recurrent("GRU", linear_before_reset=1, hidden_size=6)
    known = {
        **import_graphs.weights("GRU", WIDTH, 6),
        "one": np.array([1]),
        "D": rng.normal(size=(6, VOCABULARY)).astype(np.float32),
        **constants,
    }
    path = import_graphs.file(folder, [*before, layer, *tail], known, {"t": ["T", "B"]})
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(proto, path)
    return import_onnx(path)


def table() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(VOCABULARY, WIDTH)).astype(np.float32)


def embedding(folder: Path) -> Model:
    return of_tokens(folder, [make("Gather", ["table", "t"], ["x"])], {"table": table()})


def data(model: Model) -> Sequences:
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, (6, 9))
    assert model.main.inputs[0].shape == ()
    return Sequences(tokens.astype(np.float64), np.full(6, 9))


def test_a_gather_by_data_is_an_embedding_and_argmax_a_token(tmp_path: Path) -> None:
    model = embedding(tmp_path)
    assert isinstance(all_ops(model)[0], Embed)
    assert isinstance(all_ops(model)[-1], ArgMax)
    assert model.main.inputs[0].dtype == "token"


def test_one_hot_and_a_matrix_are_an_embedding(tmp_path: Path) -> None:
    before = [make("OneHot", ["t", "depth", "values"], ["code"]), make("MatMul", ["code", "table"], ["x"])]
    constants = {"depth": np.array(VOCABULARY), "values": np.array([0, 1], np.float32), "table": table()}
    kinds = [type(op) for op in all_ops(of_tokens(tmp_path, before, constants))]
    assert kinds[0] is Embed
    assert kinds.count(Dense) == 1


@pytest.mark.parametrize("compiler", ["gcc"])
def test_integer_tokens_equal_the_reference_everywhere(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "cffi")
    model = embedding(tmp_path)
    qmodel = quantize(model, data(model))
    (embed,) = (op for op in qmodel.all_ops if isinstance(op, QEmbed))
    assert (embed.y.bits, embed.table.shape) == (8, (VOCABULARY, WIDTH))
    assert isinstance(qmodel.all_ops[-1], QArgMax)
    x = np.random.default_rng(2).integers(-3, VOCABULARY + 3, (4, 6))
    run = run_integer(qmodel, x)
    outputs, _ = run_integer_in_onnx_runtime(export_integer(qmodel), x, np.full(4, 6))
    assert [np.array_equal(y, run.output) for y in outputs.values()] == [True]
    case = compile_case(tmp_path, qmodel, np.random.default_rng(0))
    library = build_host([case.bundle], tmp_path / "host", compiler)
    assert run_cases([case], lambda jobs: run_host(library, jobs)) == {}


def test_tokens_out_of_the_table_take_its_nearest_row(tmp_path: Path) -> None:
    model = embedding(tmp_path)
    qmodel = quantize(model, data(model))
    outside = run_integer(qmodel, np.array([[-5, VOCABULARY, 32767]]))
    inside = run_integer(qmodel, np.array([[0, VOCABULARY - 1, VOCABULARY - 1]]))
    np.testing.assert_array_equal(outside.output, inside.output)
