"""WHILE: the loop over time that Keras writes for GRU, SimpleRNN and (Keras 3) LSTM, as an ONNX Scan.

Every variable of the loop is one of: a counter from 0, what never changes, a sequence that is read at the
counter, an array of results written at the counter (or one place that holds the newest), or a state.
"""

from dataclasses import dataclass

from stepcell.importers.builder import Builder
from stepcell.importers.graph import Body
from stepcell.importers.tflite.schema import Operator, SubGraph
from stepcell.importers.tflite.translation import Translation, Translator

_HINT = "convert the layer with Keras 2 (TF_USE_LEGACY_KERAS=1), or export the model as ONNX."


@dataclass(frozen=True, eq=False)
class _Loop:
    """What each variable of a WHILE is, by its position."""

    body: SubGraph
    made: dict[int, Operator]
    """tensor of the body -> the operator that computes it"""
    steps: int
    counters: tuple[int, ...]
    sequences: tuple[int, ...]
    states: tuple[int, ...]
    results: dict[int, int]
    """array -> the tensor that is written to it"""
    keeps_all: dict[int, bool]


def while_(t: Translation, op: Operator) -> None:
    """The WHILE as a Scan: states and sequences in, last states and all results out."""
    if t.prefix:
        raise t.refuse(op, "lies in another loop; one loop over time is allowed", _HINT)
    loop = _understood(t, op)
    reads = [found for found in loop.body.operators if _is_read(loop, found)]
    whole = [k for k in loop.results if _newest_state(loop, k) is None]
    body = _body(t, op, loop, reads, whole)
    sequences = [loop.body.inputs.index(found.inputs[0]) for found in reads]
    backwards = [t.reversals.get(op.inputs[k], ("", -1))[1] == 0 for k in sequences]
    given = [t.x(op, k) for k in loop.states]
    for k, turned in zip(sequences, backwards, strict=True):
        given.append(t.reversals[op.inputs[k]][0] if turned else t.x(op, k))
    made = t.builder.add(
        "Scan",
        t.where(op),
        *given,
        outputs=len(loop.states) + len(whole),
        body=body,
        num_scan_inputs=len(reads),
        scan_input_directions=[int(turned) for turned in backwards],
        scan_output_directions=[int(all(backwards))] * len(whole),
    )
    for k, name in zip(loop.states, made, strict=False):
        t.result(op, name, k)
    for k, name in zip(whole, made[len(loop.states) :], strict=True):
        _deliver(t, op, loop, k, name, all(backwards))
    for k in loop.results.keys() - set(whole):
        state = _newest_state(loop, k)
        assert state is not None
        t.result(op, t.unsqueeze(op, made[loop.states.index(state)], 0), k)


def _newest_state(loop: _Loop, k: int) -> int | None:
    """The state that array k holds the newest value of, if it holds one result and that is a state."""
    if loop.keeps_all[k]:
        return None
    return next((state for state in loop.states if loop.body.outputs[state] == loop.results[k]), None)


def _body(t: Translation, op: Operator, loop: _Loop, reads: list[Operator], whole: list[int]) -> Body:
    """States and frames in; new states and the results of the arrays `whole` out."""
    inner = Translation(t.source, loop.body, Builder(t.source.file), prefix="loop/")
    for k in loop.states:
        inner.names[loop.body.inputs[k]] = f"state_{k}"
    for i, found in enumerate(reads):
        inner.names[found.outputs[0]] = f"frame_{i}"
    inputs = tuple(inner.names.values())
    skipped = {id(found) for found in (*reads, *_writes(loop))}
    for found in loop.body.operators:
        if id(found) not in skipped and not _is_count(loop, found):
            _translate_inner(inner, found)
    tensors = [loop.body.outputs[k] for k in loop.states] + [loop.results[k] for k in whole]
    outputs = tuple(inner.name(tensor, op) for tensor in tensors)
    return Body(inputs, outputs, tuple(inner.builder.nodes), inner.builder.constants)


def _understood(t: Translation, op: Operator) -> _Loop:
    count = len(op.inputs)
    body, condition = (_graph(t, op, str(key)) for key in ("body", "condition"))
    if not len(op.outputs) == count == len(body.inputs) == len(body.outputs) == len(condition.inputs):
        raise t.refuse(op, "has graphs that do not fit its inputs", "convert the model again.")
    made = {output: found for found in body.operators for output in found.outputs}
    counters = tuple(k for k in range(count) if _counts(t, op, body, made, k))
    kept = [k for k in range(count) if body.outputs[k] == body.inputs[k]]
    reads = {body.inputs[k]: k for k in kept}
    sequences = {reads[f.inputs[0]] for f in body.operators if f.name == "GATHER" and f.inputs[0] in reads}
    others = [k for k in range(count) if k not in (*counters, *kept)]
    found = {k: _written(body, made, k) for k in others}
    results = {k: write[0] for k, write in found.items() if write is not None}
    loop = _Loop(
        body,
        made,
        _steps(t, op, condition, counters),
        counters,
        tuple(sorted(sequences)),
        tuple(k for k in others if k not in results),
        results,
        {k: write[1] for k, write in found.items() if write is not None},
    )
    _check(t, op, loop)
    return loop


def _graph(t: Translation, op: Operator, key: str) -> SubGraph:
    index = int(op.options[key])
    if not 0 < index < len(t.source.graphs):
        raise t.refuse(op, "names a graph that the file does not have", "convert the model again.")
    return t.source.graphs[index]


def _integer(graph: SubGraph, tensor: int) -> int | None:
    """A constant scalar integer."""
    data = graph.tensors[tensor].data if tensor >= 0 else None
    return int(data.ravel()[0]) if data is not None and data.size == 1 and data.dtype.kind in "iu" else None


def _counts(t: Translation, op: Operator, body: SubGraph, made: dict[int, Operator], k: int) -> bool:
    """Whether variable k starts at 0 and grows by 1."""
    add = made.get(body.outputs[k])
    if add is None or add.name != "ADD" or body.inputs[k] not in add.inputs or len(add.inputs) != 2:
        return False
    other = add.inputs[1 - add.inputs.index(body.inputs[k])]
    return _integer(body, other) == 1 and _integer(t.graph, op.inputs[k]) == 0


def _steps(t: Translation, op: Operator, condition: SubGraph, counters: tuple[int, ...]) -> int:
    """How often the loop runs: `counter < N`, or two such conditions of one N."""
    limits = set()
    for found in condition.operators:
        if found.name == "LESS" and found.inputs[0] in {condition.inputs[k] for k in counters}:
            limits.add(_integer(condition, found.inputs[1]))
        elif found.name != "LOGICAL_AND":
            limits.add(None)
    (limit, *rest) = limits or {None}
    if limit is None or rest:
        raise t.refuse(op, "runs for a number of steps that is not constant", _HINT)
    return limit


def _written(body: SubGraph, made: dict[int, Operator], k: int) -> tuple[int, bool] | None:
    """(what is written to array k, whether all of it is kept); None if k is no array of results.

    Three ways: the array is replaced by one result; an update at the counter; or what is before the
    counter, the result, and what is behind it are joined.
    """
    last, before = made.get(body.outputs[k]), body.inputs[k]
    if last is None or len(body.tensors[before].shape) < 3:
        return None
    if last.name == "RESHAPE" and body.tensors[before].shape[0] == 1 and not _is_used(body, before):
        return last.inputs[0], False
    if last.name == "DYNAMIC_UPDATE_SLICE" and last.inputs[0] == before:
        return _unshaped(made, last.inputs[1]), True
    if last.name == "CONCATENATION" and len(last.inputs) == 3 and last.options["axis"] == 0:
        head, tail = (made.get(last.inputs[i]) for i in (0, 2))
        if all(
            part is not None and part.name == "SLICE" and part.inputs[0] == before for part in (head, tail)
        ):
            return _unshaped(made, last.inputs[1]), True
    return None


def _is_used(body: SubGraph, tensor: int) -> bool:
    return any(tensor in op.inputs for op in body.operators)


def _unshaped(made: dict[int, Operator], tensor: int) -> int:
    """The result [batch, units] before it got an axis of time."""
    op = made.get(tensor)
    return op.inputs[0] if op is not None and op.name in ("RESHAPE", "EXPAND_DIMS") else tensor


def _check(t: Translation, op: Operator, loop: _Loop) -> None:
    """Every counter indexes only what the loop reads and writes at it; sequences have a row a step."""
    for k in loop.sequences:
        if t.tensor(op.inputs[k]).shape[:1] != (loop.steps,):
            raise t.refuse(op, f"reads {loop.steps} steps of a sequence of another length", _HINT)
    for k, all_kept in loop.keeps_all.items():
        if all_kept and t.tensor(op.inputs[k]).shape[:1] != (loop.steps,):
            raise t.refuse(op, f"writes {loop.steps} steps to an array of another length", _HINT)
    if not loop.states or not loop.sequences or loop.steps < 1:
        raise t.refuse(op, "carries no state from step to step, or reads no sequence", _HINT)
    known = {*loop.counters, *loop.sequences, *loop.states, *loop.results}
    kept = [k for k in range(len(op.inputs)) if k not in known]
    if any(t.tensor(op.inputs[k]).data is None for k in kept):
        raise t.refuse(op, "reads a value from outside at every step", _HINT)
    if any(_is_used(loop.body, loop.body.inputs[k]) and not _only_written(loop, k) for k in loop.results):
        raise t.refuse(op, "reads the results of earlier steps", _HINT)
    if not _counters_only_index(loop):
        raise t.refuse(op, "computes with the number of the step", _HINT)


def _writes(loop: _Loop) -> list[Operator]:
    """The operators that only place results in their arrays."""
    found: list[Operator] = []
    stops = {*loop.results.values()}
    open_tensors = [loop.body.outputs[k] for k in loop.results]
    while open_tensors:
        tensor = open_tensors.pop()
        op = loop.made.get(tensor)
        if op is None or tensor in stops or _is_count(loop, op) or op in found:
            continue
        found.append(op)
        open_tensors += [index for index in op.inputs if index >= 0]
    return found


def _only_written(loop: _Loop, k: int) -> bool:
    """Whether only the placing of results touches array k."""
    array = loop.body.inputs[k]
    return all(op in _writes(loop) for op in loop.body.operators if array in op.inputs)


def _is_read(loop: _Loop, op: Operator) -> bool:
    """A GATHER of a sequence at a counter, along its first axis."""
    arrays = {loop.body.inputs[k] for k in loop.sequences}
    counters = {loop.body.inputs[k] for k in loop.counters}
    return op.name == "GATHER" and op.inputs[0] in arrays and op.inputs[1] in counters


def _is_count(loop: _Loop, op: Operator) -> bool:
    return bool(op.outputs) and op.outputs[0] in {loop.body.outputs[k] for k in loop.counters}


def _counters_only_index(loop: _Loop) -> bool:
    """Whether counters are only counted, read at and written at; writes are at the counter itself."""
    counters = {loop.body.inputs[k] for k in loop.counters}
    places = _writes(loop)
    reads = [op for op in loop.body.operators if counters & {*op.inputs}]
    plain = all(_is_read(loop, op) or _is_count(loop, op) or op in places for op in reads)
    sequences = {loop.body.inputs[k] for k in loop.sequences}
    whole = all(_is_read(loop, op) for op in loop.body.operators if sequences & {*op.inputs})
    axes = all(op.options.get("axis", 0) == 0 for op in loop.body.operators if _is_read(loop, op))
    return plain and whole and axes and all(_placed_at_counter(loop, k) for k in loop.results)


def _placed_at_counter(loop: _Loop, k: int) -> bool:
    """Whether array k is written at the counter: before it [0, t), behind it from t + 1."""
    if not loop.keeps_all[k]:
        return True
    last = loop.made[loop.body.outputs[k]]
    before = {loop.body.inputs[i] for i in loop.counters}
    after = {loop.body.outputs[i] for i in loop.counters}
    if last.name == "DYNAMIC_UPDATE_SLICE":
        return _first_of(loop, last.inputs[2]) in before
    head, tail = (loop.made[last.inputs[i]] for i in (0, 2))
    starts = loop.body.tensors[head.inputs[1]].data
    begins_at_zero = starts is not None and not starts.any()
    return (
        begins_at_zero
        and _first_of(loop, head.inputs[2]) in before
        and _first_of(loop, tail.inputs[1]) in after
    )


def _first_of(loop: _Loop, tensor: int) -> int:
    """The scalar that a list of integers starts with."""
    op = loop.made.get(tensor)
    while op is not None and op.name in ("CONCATENATION", "PACK", "RESHAPE", "EXPAND_DIMS"):
        tensor = op.inputs[0]
        op = loop.made.get(tensor)
    return tensor


def _translate_inner(inner: Translation, op: Operator) -> None:
    from stepcell.importers.tflite.translate import translate_operator

    translate_operator(inner, op)


def _deliver(t: Translation, op: Operator, loop: _Loop, k: int, name: str, backwards: bool) -> None:
    """The array after the loop, [steps, batch, units], or its newest result alone.

    `name` has the results in the order of time; a loop that runs backwards has them the other way round.
    """
    ints = t.builder.ints
    if not loop.keeps_all[k]:
        at = 0 if backwards else loop.steps - 1
        t.result(op, t.one(op, "Slice", name, ints(at), ints(at + 1), ints(0), ints(1)), k)
    elif backwards:
        t.reversals[op.outputs[k]] = name, 0
    else:
        t.result(op, name, k)


TRANSLATORS: dict[str, Translator] = {"WHILE": while_}
