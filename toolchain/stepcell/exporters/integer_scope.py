"""What the operations of a step graph need while they are written: names, hoisted weights, tables."""

from dataclasses import dataclass, field

import numpy as np

from stepcell.exporters.integer_arithmetic import sigmoid_of_every_int16, tanh_of_every_int16, view8
from stepcell.exporters.integer_writer import Writer
from stepcell.ir.qmodel import IntArray, QMatrix, QValue


@dataclass
class Scope:
    """The Scan body (`step`) and the graph around it (`outer`), where whatever is constant is computed once.

    `names` maps the QModel's values to tensors [batch, ...] of int32 in the body.
    """

    outer: Writer
    step: Writer
    batch: str
    """The number of sequences: an int64 vector of one element in `outer`."""
    tables: dict[str, str] = field(default_factory=dict)
    """sigmoid and tanh of every int16, made once for all scopes of a file."""
    names: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _views: dict[str, str] = field(default_factory=dict)

    def define(self, value: QValue, tensor: str) -> None:
        """The body's `tensor` holds `value` from now on."""
        self.names[value.name] = tensor
        self.shapes[value.name] = value.shape

    def flat(self, name: str) -> str:
        """The value as [batch, size]."""
        if len(self.shapes[name]) == 1:
            return self.names[name]
        size = int(np.prod(self.shapes[name], dtype=np.int64))
        return self.step.node("Reshape", self.names[name], self.step.shape([-1, size]))

    def matvec(self, matrix: QMatrix, x: str) -> str:
        """W x for the int32 tensor x [batch, cols]; MatMulInteger would saturate on older processors."""
        return self.step.node("MatMul", self.seen(matrix, x), self.weights(matrix.weights))

    def seen(self, matrix: QMatrix, x: str) -> str:
        """What a matrix reads of x: itself, or its int8 view."""
        return self.view(x) if matrix.reads_view else x

    def view(self, x: str) -> str:
        """The int8 view of an int16 value."""
        if x not in self._views:
            self._views[x] = view8(self.step, x)
        return self._views[x]

    def weights(self, weights: IntArray) -> str:
        """int8 weights [rows, cols] in the file, int32 [cols, rows] for MatMul."""
        stored = self.outer.constant(weights.T.astype(np.int8))
        return self.outer.cast(stored, 32)

    def repeated(self, values: IntArray) -> str:
        """int32 `values` of one step, repeated for every sequence: [batch, ...] in `outer`."""
        shape = self.outer.node("Concat", self.batch, self.outer.shape(list(values.shape)), axis=0)
        return self.outer.node("Expand", self.outer.int32(values), shape)

    def sigmoid(self, p: str) -> str:
        """int32 tensor in the int16 range -> sigmoid, one look-up for each element."""
        return self.step.node("Gather", self._table("sigmoid"), p)

    def tanh(self, p: str) -> str:
        """int32 tensor in the int16 range -> tanh."""
        return self.step.node("Gather", self._table("tanh"), p)

    def _table(self, function: str) -> str:
        if "sigmoid" not in self.tables:
            self.tables["sigmoid"] = sigmoid_of_every_int16(self.outer)
        if function not in self.tables:
            self.tables[function] = tanh_of_every_int16(self.outer, self.tables["sigmoid"])
        return self.tables[function]
