"""The recurrent cases of ONNX's conformance suite: imported to the suite's outputs, or refused by name."""

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.reference.float_model import run_float

FORWARD = (
    "gru_defaults",
    "gru_with_initial_bias",
    "lstm_defaults",
    "lstm_with_initial_bias",
    "simple_rnn_defaults",
    "simple_rnn_with_initial_bias",
    "gru_reverse",
    "lstm_reverse",
    "simple_rnn_reverse",
    "gru_bidirectional",
    "lstm_bidirectional",
    "simple_rnn_bidirectional",
    "gru_seq_length",
    "rnn_seq_length",
)
REFUSED = {
    "gru_batchwise": "layout 1",
    "lstm_batchwise": "layout 1",
    "simple_rnn_batchwise": "layout 1",
    "lstm_with_peepholes": "sequence_lens|peepholes",
}


@cache
def cases() -> dict[str, Any]:
    """Every node test of ONNX, generated once: collecting a part leaves global state behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the overflows that other operators' cases provoke
        return {case.name.removeprefix("test_"): case for case in collect_testcases(None)}


def saved(name: str, folder: Path) -> Path:
    """The case as a file whose weights are constants, as in any model; X stays the input."""
    model, (arrays, _) = onnx.ModelProto(), cases()[name].data_sets[0]
    model.CopyFrom(cases()[name].model)
    graph = model.graph
    tensors = zip(graph.input[1:], arrays[1:], strict=True)
    graph.initializer.extend(onnx.numpy_helper.from_array(array, info.name) for info, array in tensors)
    del graph.input[1:]
    onnx.save(model, folder / "case.onnx")
    return folder / "case.onnx"


@pytest.mark.parametrize("name", FORWARD)
def test_conformance_case_gives_the_suites_outputs(name: str, tmp_path: Path) -> None:
    """The case's X is [T, N, I]; its outputs have directions before the batch."""
    case = cases()[name]
    inputs, outputs = case.data_sets[0]
    model = import_onnx(saved(name, tmp_path))
    results = run_float(model, np.swapaxes(inputs[0], 0, 1)).outputs(model.main)
    for found, wanted in zip(results.values(), outputs, strict=True):
        batch_axis = {3: 1, 4: 2}[wanted.ndim]
        expected = np.moveaxis(wanted, batch_axis, 0)
        assert np.allclose(found.reshape(expected.shape), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_conformance_case_that_is_not_imported_yet_is_refused_by_name(
    name: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(StepcellError, match=reason):
        import_onnx(saved(name, tmp_path))


def test_conformance_cases_are_all_named_here() -> None:
    recurrent = {
        name
        for name, case in cases().items()
        if any(node.op_type in ("LSTM", "GRU", "RNN") for node in case.model.graph.node)
    }
    assert recurrent == {*FORWARD, *REFUSED}
