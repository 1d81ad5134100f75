"""Files of one LSTM, GRU or RNN node with any of its attributes, and what runs them as they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from stepcell.ir import Model
from stepcell.reference.float_model import run_float

Array = NDArray[Any]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, SEQUENCES, INPUTS, UNITS = 6, 3, 2, 4


@dataclass(frozen=True)
class Layer:
    """One node: its attributes, and which of its optional inputs it has (as constants, or fed)."""

    op: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    peepholes: bool = False
    initial: str = "none"
    """none, constant (one for all sequences) or fed."""
    lengths: tuple[int, ...] = ()
    """Fed as sequence_lens."""
    scale: float = 0.6
    opset: int = 22
    outputs: tuple[str, ...] = ("Y", "Y_h", "Y_c")

    @property
    def directions(self) -> int:
        """Rows of the weights."""
        return 2 if self.attributes.get("direction") == "bidirectional" else 1

    @property
    def batch_first(self) -> bool:
        """Layout 1."""
        return bool(self.attributes.get("layout", 0) == 1)


def arrays(layer: Layer) -> tuple[dict[str, Array], dict[str, Array]]:
    """(constants, what is fed) of a layer."""
    random = np.random.default_rng(7)
    rows, d = GATES[layer.op] * UNITS, layer.directions
    shapes = {"W": (d, rows, INPUTS), "R": (d, rows, UNITS), "B": (d, 2 * rows), "P": (d, 3 * UNITS)}
    made = {n: (random.standard_normal(s) * layer.scale).astype(np.float32) for n, s in shapes.items()}
    if not layer.peepholes:
        del made["P"]
    fed = {"X": random.standard_normal((STEPS, SEQUENCES, INPUTS)).astype(np.float32)}
    for name in ("initial_h", "initial_c")[: 2 if layer.op == "LSTM" else 1]:
        states = random.uniform(-0.9, 0.9, (d, SEQUENCES, UNITS)).astype(np.float32)
        if layer.initial == "constant":
            made[name] = np.repeat(states[:, :1], SEQUENCES, axis=1)
        elif layer.initial == "fed":
            fed[name] = states
    if layer.batch_first:
        for group in (made, fed):
            group |= {n: a.swapaxes(0, 1) for n, a in group.items() if n in ("X", "initial_h", "initial_c")}
    if layer.lengths:
        fed["lengths"] = np.array(layer.lengths, np.int32)
    return made, fed


def proto(layer: Layer, frozen: bool = False) -> onnx.ModelProto:
    """The file; its batch and time axes are free unless `frozen` (or an initial state is a constant)."""
    constants, fed = arrays(layer)
    names = ["X", "W", "R", "B", "lengths", "initial_h", "initial_c", "P"]
    inputs = [name if name in constants or name in fed else "" for name in names]
    while not inputs[-1]:
        inputs.pop()
    outputs = [n if n in layer.outputs else "" for n in ("Y", "Y_h", "Y_c")[: 3 if layer.op == "LSTM" else 2]]
    node = helper.make_node(
        layer.op, inputs, outputs, name="layer", hidden_size=UNITS, **dict(layer.attributes)
    )
    fixed = frozen or layer.initial == "constant"
    infos = [_info(name, array, layer.batch_first, fixed) for name, array in fed.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs if name]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "graph", infos, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", layer.opset)])
    model.ir_version = 8
    return model


def _info(name: str, array: Array, batch_first: bool, fixed: bool) -> onnx.ValueInfoProto:
    roles: dict[str, list[str | None]] = {"X": ["T", "B", None], "lengths": ["B"]}
    free = roles.get(name, [None, "B", None])
    if batch_first and len(free) == 3:
        free = [free[1], free[0], free[2]]
    sizes = zip(free, array.shape, strict=True)
    shape = list(array.shape) if fixed else [size if role is None else role for role, size in sizes]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)


def written(folder: Path, layer: Layer, frozen: bool = False) -> Path:
    """The file's path."""
    onnx.save(proto(layer, frozen), folder / "layer.onnx")
    return folder / "layer.onnx"


def by_onnx_runtime(layer: Layer) -> dict[str, Array]:
    """What ONNX Runtime computes; it raises for what it does not run."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        proto(layer).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays(layer)[1]), strict=True))


def by_reference_evaluator(layer: Layer) -> dict[str, Array]:
    """What onnx's own evaluator computes: without clip, input_forget, sequence_lens and most activations."""
    evaluator = ReferenceEvaluator(proto(layer))
    return dict(zip(evaluator.output_names, evaluator.run(None, arrays(layer)[1]), strict=True))


def by_interpreter(model: Model, layer: Layer) -> dict[str, Array]:
    """What the imported model computes, in the node's own layout: Y zero beyond the lengths."""
    source = model.source
    assert source is not None
    fed = arrays(layer)[1]
    x = fed["X"] if layer.batch_first else fed["X"].swapaxes(0, 1)
    starts = {s.state: np.moveaxis(fed[s.tensor_in][s.key], s.batch_axis or 0, 0) for s in source.states}
    lengths = np.array(layer.lengths) if layer.lengths else None
    run = run_float(model, x, lengths, initial=starts)
    found = dict(zip((t.name for t in source.outputs), run.outputs(model.main).values(), strict=True))
    for name in {s.tensor_out for s in source.states if s.tensor_out} - found.keys():
        parts = [run.ends[s.state] for s in source.states if s.tensor_out == name]
        found[name] = np.stack(parts, axis=1)
    return {name: _as_node(array, name, layer) for name, array in found.items()}


def _as_node(array: Array, name: str, layer: Layer) -> Array:
    if name != "Y":
        ends = array.reshape(SEQUENCES, layer.directions, UNITS)
        return ends if layer.batch_first else ends.swapaxes(0, 1)
    steps = array.reshape(SEQUENCES, STEPS, layer.directions, UNITS)
    if layer.lengths:
        valid = np.arange(STEPS) < np.array(layer.lengths)[:, None]
        steps = np.where(valid[:, :, None, None], steps, 0.0)
    return steps if layer.batch_first else steps.transpose(1, 2, 0, 3)
