"""LayerNormalization as one operator; lift/recognise.py finds what exporters take apart."""

import math
from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attributes import Operands, axis_of
from stepcell.importers.lift.axes import require_inner
from stepcell.importers.lift.context import Lift, Lifted, known, materialise
from stepcell.importers.lift.elementwise import numbers
from stepcell.ir.ops import Normalize, Value


def layer_normalization(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """LayerNormalization over the last axes, all of them inner; its other outputs may not be used."""
    x = numbers(lift, operands[0])
    if any(lift.uses[name] for name in node.outputs[1:]):
        raise Unsupported("yields its mean or deviation, too", "use the normalized output alone.")
    first = axis_of(int(node.attributes.get("axis", -1)), len(x.axes))
    for axis in x.axes[first:]:
        require_inner(axis, "runs over")
    lead = tuple(size for size in x.table.shape[:first] if size > 1)
    shape = (*lead, math.prod(x.table.shape[first:]))
    source = materialise(lift, x, shape)
    inner = x.table.shape[first:]
    gain = np.broadcast_to(known(operands[1], "a scale"), inner)
    has_bias = len(operands) > 2 and operands[2] is not None
    bias = np.broadcast_to(known(operands[2], "a bias") if has_bias else np.zeros(()), inner)
    name = lift.fresh("normal")
    lift.weights[f"{name}_gain"] = np.ascontiguousarray(gain, np.float64).ravel()
    lift.weights[f"{name}_bias"] = np.ascontiguousarray(bias, np.float64).ravel()
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    lift.emit(Normalize(source, Value(name, shape), f"{name}_gain", f"{name}_bias", epsilon), x.phase)
    return [replace(x, value=name, table=np.arange(x.table.size).reshape(x.table.shape))]
