"""Write small.onnx, a GRU of 5 units with a last-step head, and small.npz, its calibration data.

Usage: make_small_model.py FOLDER. Needs only numpy and onnx; the wheel test compiles the result.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES, HIDDEN, CLASSES = 3, 5, 2


def small_model(seed: int = 0) -> onnx.ModelProto:
    """x [batch, time, 3] -> logits [batch, 2], in the operators that PyTorch's exporter writes."""
    random = np.random.default_rng(seed)
    shapes = {
        "W": (1, 3 * HIDDEN, FEATURES),
        "R": (1, 3 * HIDDEN, HIDDEN),
        "B": (1, 6 * HIDDEN),
        "head_W": (CLASSES, HIDDEN),
        "head_b": (CLASSES,),
    }
    weights = [
        numpy_helper.from_array(random.uniform(-0.5, 0.5, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Transpose", ["x"], ["x_t"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["x_t", "W", "R", "B"], ["", "h"], hidden_size=HIDDEN, linear_before_reset=1),
        helper.make_node("Squeeze", ["h", "zero"], ["last"]),
        helper.make_node("Gemm", ["last", "head_W", "head_b"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "time", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [*weights, numpy_helper.from_array(np.zeros(1, np.int64), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def small_data(sequences: int = 16, frames: int = 12, seed: int = 1) -> np.ndarray:
    """Standard normal x [sequences, frames, 3]."""
    return np.random.default_rng(seed).standard_normal((sequences, frames, FEATURES)).astype(np.float32)


def main(folder: Path) -> None:
    """Write both files."""
    onnx.save(small_model(), folder / "small.onnx")
    np.savez(folder / "small.npz", x=small_data())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
