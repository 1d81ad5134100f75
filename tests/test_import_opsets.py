"""The same network in opsets 7 to 22, whose operators moved attributes to inputs on the way."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from import_graphs import file, recurrent, weights
from stepcell.importers.onnx import import_onnx
from stepcell.reference.float_model import run_float

node = helper.make_node


def with_axes(
    op: str, x: str, y: str, axes: list[int], opset: int, since: int, **attributes: Any
) -> onnx.NodeProto:
    """An operator whose axes are an attribute before opset `since`, and an input from then on."""
    if opset < since:
        return node(op, [x], [y], axes=axes, **attributes)
    return node(op, [x, "axes" + "".join(map(str, axes))], [y], **attributes)


def network(folder: Path, opset: int) -> Path:
    """x [T, B, 3] -> GRU -> clipped, sliced, split, scaled, normalized by a softmax -> y [T, B, 2]."""
    constants: dict[str, Any] = {
        **weights("GRU", 3, 5),
        "axes1": np.array([1]),
        "axes2": np.array([2]),
        "starts": np.array([1]),
        "ends": np.array([5]),
        "parts": np.array([2, 2]),
        "low": np.float32(-0.3),
        "high": np.float32(0.4),
        "half": np.float32(0.5),
        "gain": np.array([0.5, 1.5], "f"),
        "shift": np.array([0.1, -0.1], "f"),
        "mean": np.array([0.02, -0.03], "f"),
        "variance": np.array([0.9, 1.2], "f"),
        "rows": np.array([-1, 2]),
        "none": np.array(False),
    }
    clip = (
        node("Clip", ["s"], ["c"], min=-0.3, max=0.4)
        if opset < 11
        else node("Clip", ["s", "low", "high"], ["c"])
    )
    cut = (
        node("Slice", ["c"], ["v"], axes=[2], starts=[1], ends=[5])
        if opset < 10
        else node("Slice", ["c", "starts", "ends", "axes2"], ["v"])
    )
    split = (
        node("Split", ["v"], ["a", "b"], axis=2, split=[2, 2])
        if opset < 13
        else node("Split", ["v", "parts"], ["a", "b"], axis=2)
    )
    dropout = (
        node("Dropout", ["e"], ["f"], ratio=0.5)
        if opset < 12
        else node("Dropout", ["e", "half", "none"], ["f"])
    )
    nodes = [
        recurrent("GRU"),
        with_axes("Squeeze", "Y", "s", [1], opset, 13),
        clip,
        cut,
        split,
        node("Mul", ["a", "b"], ["p"]),
        with_axes("ReduceMean", "v", "average", [2], opset, 18, keepdims=1),
        with_axes("ReduceSum", "v", "total", [2], opset, 13, keepdims=1),
        node("Add", ["average", "total"], ["d"]),
        node("Add", ["p", "d"], ["e"]),
        dropout,
        node("Softmax", ["f"], ["y"], axis=2),
    ]
    return file(folder, nodes, constants, {"x": ["T", "B", 3]}, opset=opset)


@pytest.mark.parametrize("opset", range(7, 23))
def test_every_opset_is_imported_alike(opset: int, tmp_path: Path) -> None:
    """The import check compares with ONNX Runtime in that opset; the results are the same in all."""
    x = np.random.default_rng(0).standard_normal((2, 6, 3))
    results = []
    for version in (opset, 17):
        model = import_onnx(network(tmp_path, version))
        (y,) = run_float(model, x).outputs(model.main).values()
        results.append(y)
    np.testing.assert_array_equal(results[0], results[1])
