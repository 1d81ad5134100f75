"""Collects the nodes of one ONNX graph, with names that are the same in every run."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ELEMENT = {8: TensorProto.INT8, 16: TensorProto.INT16, 32: TensorProto.INT32}
"""ONNX element type of a value that is stored in so many bits."""


class Writer:
    """Nodes and initializers in order of creation.

    `prefix` keeps a subgraph's names apart from its parent's, the dot in a made-up name keeps it apart
    from a model's names, which are C identifiers.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._names = 0
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        output = name or self._fresh(operator.lower())
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def split(self, x: str, sizes: list[int]) -> list[str]:
        """The parts of x [N, sum of sizes] along its last axis."""
        outputs = [self._fresh("split") for _ in sizes]
        self.nodes.append(helper.make_node("Split", [x, self.shape(sizes)], outputs, axis=-1))
        return outputs

    def constant(self, array: NDArray[np.generic], name: str | None = None) -> str:
        """An initializer; equal unnamed arrays share one."""
        if name is not None:
            self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
            return name
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.constant(array, self._fresh("constant"))
        return self._constants[key]

    def int32(self, value: Any) -> str:
        """An int32 constant: a scalar or an array."""
        return self.constant(np.asarray(value, np.int32))

    def shape(self, axes: list[int]) -> str:
        """An int64 vector, as operators want their shapes."""
        return self.constant(np.asarray(axes, np.int64))

    def cast(self, x: str, bits: int, name: str | None = None) -> str:
        """The same integers in another width."""
        return self.node("Cast", x, name=name, to=ELEMENT[bits])

    def _fresh(self, stem: str) -> str:
        self._names += 1
        return f"{self.prefix}{stem}.{self._names}"
