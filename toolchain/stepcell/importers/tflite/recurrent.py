"""The fused recurrent operators. TensorFlow Lite orders LSTM gates i f c o, ONNX i o f c."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stepcell.importers.graph import Array
from stepcell.importers.tflite.schema import Operator
from stepcell.importers.tflite.translation import Translation, Translator

_GATES = "ifco"
_ONNX_ORDER = (0, 3, 1, 2)
_RNN = {1: "Relu", 4: "Tanh"}


def _lstm(t: Translation, op: Operator) -> None:
    if len(op.inputs) < 20:
        raise t.refuse(op, f"has {len(op.inputs)} inputs; 20 or 24 are allowed", "convert the model again.")
    _refuse_variants(t, op, 20, op.options["diagonal"])
    time_major = bool(op.options["time_major"])
    states = [_start(t, op, k) for k in (18, 19)]
    x, backwards = _read(t, op, time_major)
    y, last = _onnx_lstm(t, op, x, [_direction(t, op, 1)], states, backwards)
    _deliver_one(t, op, y, last, time_major, backwards)


def _bidirectional_lstm(t: Translation, op: Operator) -> None:
    """Inputs: x, 17 tensors of either direction, two states each, auxiliary ones."""
    _refuse_variants(t, op, len(op.inputs), 0)
    if any(t.index(op, k) is not None for k in range(39, len(op.inputs))):
        raise t.refuse(
            op, "has an auxiliary input; none is allowed", "concatenate the inputs before the layer."
        )
    time_major = bool(op.options["time_major"])
    x, _ = _read(t, op, time_major, turn=False)
    forward, backward = (_direction(t, op, first) for first in (1, 18))
    starts = [_start(t, op, k) for k in (35, 36, 37, 38)]
    h, c = ([starts[k], starts[k + 2]] for k in (0, 1))
    joined: list[Array | None] = [_both(h), _both(c)]
    y, _ = _onnx_lstm(t, op, x, [forward, backward], joined, False)
    if op.options["merge"]:
        beside = t.one(op, "Transpose", y, perm=[0, 2, 1, 3])
        _deliver(t, op, t.one(op, "Reshape", beside, t.builder.ints(0, 0, -1)), time_major)
        return
    for k in (0, 1):
        one = t.one(op, "Gather", y, t.builder.constant(np.int64(k)), axis=1)
        _deliver(t, op, one, time_major, k)


def _both(states: list[Array | None]) -> Array | None:
    """The initial states of both directions; None if neither has one."""
    forward, backward = states
    return None if forward is None or backward is None else np.concatenate([forward, backward])


def _direction(t: Translation, op: Operator, first: int) -> Mapping[str, Any]:
    """W, R, bias and peepholes of the direction whose tensors start at `first`."""
    w, r, b = ([_gate(t, op, first + k + g) for g in range(4)] for k in (0, 4, 11))
    p = [t.optional(op, first + 8 + g) for g in range(3)]
    for index, what in ((15, "a projection"), (16, "a projection")):
        if t.index(op, first + index) is not None:
            raise t.refuse(op, f"has {what}; a plain LSTM is allowed", "train without num_proj.")
    if w[0] is None:
        # Coupled gates: i = 1 - f = sigmoid of minus f's argument.
        w[0], r[0], b[0] = (None if part[1] is None else -part[1] for part in (w, r, b))
        if p[1] is not None:
            p[0] = -p[1]
    units = 0 if r[1] is None else len(r[1])
    zeros = [np.zeros(units) if part is None else part for part in b]
    if any(part is None for part in (*w, *r)):
        raise t.refuse(op, "lacks the weights of a gate", "convert the model again.")
    stacked = [np.concatenate([part[g] for g in _ONNX_ORDER]) for part in (w, r, zeros)]
    peepholes = None
    if any(part is not None for part in p):
        i, f, o = (np.zeros(units) if part is None else part for part in p)
        peepholes = np.concatenate([i, o, f])
    return {"W": stacked[0], "R": stacked[1], "B": stacked[2], "P": peepholes}


def _gate(t: Translation, op: Operator, k: int) -> Array | None:
    found = t.optional(op, k)
    return None if found is None else found.astype(np.float64)


def _refuse_variants(t: Translation, op: Operator, layer_norm: int, diagonal: int) -> None:
    if any(t.index(op, k) is not None for k in range(layer_norm, len(op.inputs))):
        raise t.refuse(
            op, "normalizes its gates (layer norm); a plain LSTM is allowed", "train with keras.layers.LSTM."
        )
    if diagonal:
        raise t.refuse(op, "has diagonal recurrent weights", "store whole matrices.")
    if op.options["activation"] != 4:
        raise t.refuse(op, "has an activation other than tanh", "train with activation='tanh'.")
    if op.options["cell_clip"] < 0:
        raise t.refuse(op, "clips its cell at a negative number", "convert the model again.")


def _start(t: Translation, op: Operator, k: int) -> Array | None:
    """An initial state: None for a variable, which starts at zero; else a constant [batch, units]."""
    index = t.index(op, k)
    if index is None or t.tensor(index).is_variable:
        return None
    start = t.real(index, op)
    return start[None] if start.ndim == 2 else start


def _onnx_lstm(
    t: Translation,
    op: Operator,
    x: str,
    directions: list[Mapping[str, Any]],
    states: list[Array | None],
    backwards: bool,
) -> tuple[str, str]:
    """Y [time, directions, batch, units] and Y_h [directions, batch, units]."""
    constant = t.builder.constant
    w, r = (constant(np.stack([d[key] for d in directions])) for key in "WR")
    b = constant(np.stack([np.concatenate([d["B"], 0 * d["B"]]) for d in directions]))
    starts = ["" if state is None else constant(state) for state in states]
    peepholes = [constant(np.stack([d["P"] for d in directions]))] if directions[0]["P"] is not None else []
    direction = "reverse" if backwards else "forward"
    attributes: dict[str, Any] = {"direction": "bidirectional" if len(directions) == 2 else direction}
    if _can_clip(t, op):
        attributes["cell_clip"] = float(op.options["cell_clip"])
    inputs = [x, w, r, b, "", *starts, *peepholes]
    y, last, _ = t.builder.add("LSTM", t.where(op), *inputs, outputs=3, **attributes)
    return y, last


def _can_clip(t: Translation, op: Operator) -> bool:
    """Whether the cell can reach its limit: |c| grows by at most one a step, from zero."""
    clip = float(op.options["cell_clip"])
    shape = t.shape(op, 0)
    signature = t.tensor(t.given(op, 0)).signature
    time = 0 if op.options["time_major"] else 1
    started = any(_start(t, op, k) is not None for k in range(18, 20)) and len(op.inputs) < 30
    return clip > 0 and (signature[time] < 0 or started or shape[time] > clip)


def _read(t: Translation, op: Operator, time_major: bool, turn: bool = True) -> tuple[str, bool]:
    """The input [time, batch, inputs], and whether the layer runs backwards over it."""
    if len(t.shape(op, 0)) != 3:
        raise t.refuse(op, f"reads a tensor of {len(t.shape(op, 0))} axes; 3 are allowed", "check the file.")
    index = t.given(op, 0)
    backwards = turn and t.reversals.get(index, ("", -1))[1] == (0 if time_major else 1)
    x = t.reversals[index][0] if backwards else t.x(op)
    return (x if time_major else t.one(op, "Transpose", x, perm=[1, 0, 2])), backwards


def _deliver_one(t: Translation, op: Operator, y: str, last: str, time_major: bool, backwards: bool) -> None:
    """The results of one direction; those of a layer that runs backwards are in the reverse order."""
    time = 0 if time_major else 1
    y = t.one(op, "Squeeze", y, t.builder.ints(1))
    y = y if time_major else t.one(op, "Transpose", y, perm=[1, 0, 2])
    t.ends[op.outputs[0]] = t.one(op, "Squeeze", last, t.builder.ints(0)), time
    if backwards:
        t.reversals[op.outputs[0]] = y, time
    else:
        t.result(op, y)


def _deliver(t: Translation, op: Operator, y: str, time_major: bool, k: int = 0) -> None:
    t.result(op, y if time_major else t.one(op, "Transpose", y, perm=[1, 0, 2]), k)


def _rnn(t: Translation, op: Operator) -> None:
    """Inputs: x, W, R, bias, state."""
    code = int(op.options["activation"])
    if code not in _RNN:
        raise t.refuse(op, "has an activation other than tanh and relu", "train with one of those.")
    time_major = bool(op.options["time_major"])
    x, backwards = _read(t, op, time_major)
    w, r, b = (t.constant(op, k).astype(np.float64) for k in (1, 2, 3))
    constant = t.builder.constant
    start = _start(t, op, 4)
    inputs = [x, constant(w[None]), constant(r[None]), constant(np.concatenate([b, 0 * b])[None]), ""]
    inputs += [] if start is None else [constant(start)]
    direction = "reverse" if backwards else "forward"
    y, last = t.builder.add(
        "RNN", t.where(op), *inputs, outputs=2, activations=[_RNN[code]], direction=direction
    )
    _deliver_one(t, op, y, last, time_major, backwards)


TRANSLATORS: dict[str, Translator] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _bidirectional_lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _rnn,
}
