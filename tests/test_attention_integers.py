"""Attention in integers: equal in the reference, in plain Python, ONNX Runtime and C, close to the floats."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import scalar_attention
from random_attention import KINDS, attention_model
from random_bundles import M4
from random_structures import random_data, random_feeds
from runtime_library import Runtime
from stepcell.build import build_firmware, build_host, load_bundle
from stepcell.emit import emit
from stepcell.errors import StepcellError
from stepcell.ir import Function, Model, Stage, State, verify
from stepcell.ir.files import dump_qmodel, load_qmodel
from stepcell.ir.ops import Activate, Append, Attend, Constant, Count, Op, Take, Value
from stepcell.ir.qattention import QAppend, QAttend
from stepcell.ir.qmodel import QModel, QValue
from stepcell.ir.qtext import qmodel_to_text
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize
from stepcell.quantize.attention import LARGEST_DIFFERENCE, exponent_numbers
from stepcell.quantize.context import Activations
from stepcell.reference import integer_attention as reference
from stepcell.reference.float_model import run_float_functions
from stepcell.reference.integer_data import quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_functions
from stepcell.run import profile_step, run_host, run_unicorn
from stepcell.target import load_board
from test_bundle_structures import Structure, compiled, wrong
from test_structures import integer_differences
from tools import require_tool

ROWS = 6
BOARD = load_board("mps2-an386")
STYLES = ("gaussian", "large", "extremes")


def drawn(kind: str, seed: int, activations: Activations = "int8", name: str = "attention") -> QModel:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    model = attention_model(rng, kind, ROWS, style=STYLES[seed % 3], name=name)
    return quantize(model, random_data(rng, model, steps=ROWS), activations)


def a_memory(bits: int, rows: int = 3, width: int = 2) -> QValue:
    return QValue("y", (rows, width), 8 if bits == 8 else 16, 1.0)


def operation(rng: np.random.Generator, key_bits: int, value_bits: int, rows: int, width: int) -> QAttend:
    """An attention with the numbers of some scale of the scores and of the mean."""
    product_shift = 0 if key_bits == 8 else (width - 1).bit_length()
    largest = width << 15 if key_bits == 8 else LARGEST_DIFFERENCE
    unit = float(2.0 ** rng.uniform(-34, 0))
    return QAttend(
        *("query", "keys", "values", "count"),
        QValue("y", (int(rng.integers(1, 8)),), 16, 1.0),
        key_bits == 8,
        product_shift,
        *exponent_numbers("y", largest, unit),
        fraction=min(24, 31 - (rows - 1).bit_length()),
        value_shift=value_bits - 1,
        mean_multiplier=int(rng.integers(1 << 13, (1 << 14) + 1)),
        mean_shift=int(rng.integers(10, 18)),
    )


def operands(
    rng: np.random.Generator, op: QAttend, key_bits: int, value_bits: int, rows: int, width: int
) -> dict[str, NDArray[np.int64]]:
    """Query, keys and values over the whole range, often at its ends; a count below, at or above the rows."""

    def some(bits: int, *shape: int) -> NDArray[np.int64]:
        limit = 1 << (bits - 1)
        inside = rng.integers(-limit, limit, shape) >> rng.integers(0, bits)
        return np.where(rng.random(shape) < rng.random(), rng.choice([-limit, limit - 1], shape), inside)

    return {
        "query": some(16, width),
        "keys": some(key_bits, rows, width),
        "values": some(value_bits, rows, op.y.size),
        "count": rng.integers(0, rows + 3, ()),
    }


@settings(max_examples=300)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([8, 16]),
    st.sampled_from([8, 16]),
    st.sampled_from([1, 2, 3, 8, 100]),
    st.sampled_from([1, 2, 5, 33]),
)
def test_attention_equals_plain_python_and_nothing_leaves_32_bits(
    seed: int, key_bits: int, value_bits: int, rows: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    op = operation(rng, key_bits, value_bits, rows, width)
    given_ = operands(rng, op, key_bits, value_bits, rows, width)
    plain = {name: [int(v) for v in array.flat] for name, array in given_.items()}
    found = reference.evaluate(op, {name: array[None] for name, array in given_.items()})
    assert found[0].tolist() == scalar_attention.evaluate(op, plain)


@pytest.mark.parametrize("key_bits", [8, 16])
def test_the_longest_and_widest_memory_at_its_limits_stays_within_32_bits(key_bits: int) -> None:
    """All scores equal and all values at their end, which is where every sum is largest."""
    rows, limit = 1 << 14, 1 << (key_bits - 1)
    op = replace(operation(np.random.default_rng(0), key_bits, 16, rows, rows), mean_multiplier=1 << 14)
    w = reference.weights(op, np.zeros((1, rows), np.int64), np.array([rows]))
    assert 1 << 13 <= w.sum() <= (1 << 15) + (1 << 13)
    assert w.sum() << 15 < 1 << 31
    alternating = np.where(np.arange(rows) % 2, 2, -1)  # the weights that rounding makes too large
    worst = reference.weights(op, np.tile(alternating, (1, 1)).astype(np.int64), np.array([rows]))
    assert 1 << 13 <= worst.sum() <= (1 << 15) + (1 << 13)
    product = (1 << 15) * limit if key_bits == 16 else (1 << 7) * limit
    assert rows * ((product + (1 << op.product_shift >> 1)) >> op.product_shift) <= 1 << 30


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("count", [0, 2, 3, 9])
def test_appending_replaces_the_row_that_is_counted_and_none_when_full(bits: int, count: int) -> None:
    op = QAppend("memory", "count", "x", a_memory(bits))
    memory, x = np.arange(6).reshape(3, 2), np.array([-32768, 32767])
    found = reference.append(op, memory[None], np.array([count]), x[None])[0]
    expected = memory.copy()
    if count < 3:
        expected[count] = [-128, 127] if bits == 8 else x
    assert found.tolist() == expected.tolist()
    flat = scalar_attention.append(op, memory.ravel().tolist(), count, x.tolist())
    assert flat == expected.ravel().tolist()


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool("gcc", "cffi")
    return Runtime(tmp_path_factory.mktemp("gcc"), "gcc")


def attend_in_c(
    runtime: Runtime, op: QAttend, given_: dict[str, NDArray[np.int64]], bits: tuple[int, int]
) -> list[int]:
    key_bits, value_bits = bits
    rows, width = given_["keys"].shape
    stored = {"keys": key_bits, "values": value_bits, "count": 32}
    c = {n: np.atleast_1d(a).astype(f"int{stored.get(n, 16)}") for n, a in given_.items()}
    weights, y = np.zeros(rows, np.int32), np.zeros(op.y.size, np.int16)
    if op.reads_view:
        view = np.minimum(127, (given_["query"] + 128) >> 8).astype(np.int8)
        runtime.sc_scores_s8(weights, view, c["keys"], rows, width, c["count"])
    else:
        shift = runtime.shift(op.product_shift)
        runtime.sc_scores_s16(weights, c["query"], c["keys"], rows, width, c["count"], shift)
    shifts = runtime.shift(op.pre_shift), op.multiplier, runtime.shift(op.shift), op.fraction
    runtime.sc_weights(weights, rows, c["count"], *shifts)
    mix = getattr(runtime, f"sc_mix_s{value_bits}")
    mean = op.mean_multiplier, runtime.shift(op.mean_shift)
    mix(y, weights, c["values"], rows, op.y.size, c["count"], *mean)
    return [int(v) for v in y]


@pytest.mark.parametrize("bits", [(8, 8), (8, 16), (16, 8), (16, 16)])
def test_the_runtime_equals_the_reference(runtime: Runtime, bits: tuple[int, int]) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(150):
        rows, width = (int(v) for v in rng.integers(1, 20, 2))
        op = operation(rng, *bits, rows, width)
        given_ = operands(rng, op, *bits, rows, width)
        found = attend_in_c(runtime, op, given_, bits)
        assert found == reference.evaluate(op, {n: a[None] for n, a in given_.items()})[0].tolist()


@pytest.mark.parametrize("bits", [8, 16])
def test_the_runtime_appends_as_the_reference_and_touches_one_row(runtime: Runtime, bits: int) -> None:
    rng = np.random.default_rng(bits)
    for count in (0, 1, 4, 5, 32767):
        memory = rng.integers(-128, 128, (5, 7)).astype(f"int{bits}")
        x = rng.integers(-32768, 32768, 7).astype(np.int16)
        op = QAppend("memory", "count", "x", a_memory(bits, 5, 7))
        wide = memory.astype(np.int64)[None], np.array([count]), x.astype(np.int64)[None]
        expected = reference.append(op, *wide)[0]
        getattr(runtime, f"sc_append_s{bits}")(memory, np.array([count], np.int32), x, 5, 7)
        assert memory.tolist() == expected.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_models_are_the_same_in_onnx_runtime_even_beyond_their_memory(
    kind: str, activations: Activations
) -> None:
    for seed in range(6):
        qmodel = drawn(kind, seed, activations)
        feeds = random_feeds(np.random.default_rng(seed), qmodel, steps=ROWS + 3)
        assert integer_differences(qmodel, feeds) == []


@pytest.fixture(scope="module")
def structures(tmp_path_factory: pytest.TempPathFactory) -> list[Structure]:
    """Every kind, int8 and int16; step functions run beyond their memory, others exactly to its end."""
    folder, found = tmp_path_factory.mktemp("attention"), []
    for i, kind in enumerate(KINDS * 6):
        qmodel = drawn(kind, i, "int8" if i % 2 else "int16", name=f"attention{i}")
        steps = ROWS + 3 if all(f.is_step for f in qmodel.functions) else ROWS
        feeds = random_feeds(np.random.default_rng(i), qmodel, count=3, steps=steps)
        found.append(compiled(folder, qmodel, feeds))
    return found


def test_every_kernel_of_attention_is_called(structures: list[Structure]) -> None:
    calls = {call.function for structure in structures for call in structure.plan.calls}
    kernels = {f"sc_{what}_s{bits}" for what in ("append", "scores", "mix") for bits in (8, 16)}
    assert kernels | {"sc_weights"} <= calls


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c_equals_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, structures: list[Structure], compiler: str
) -> None:
    require_tool(compiler, "cffi")
    monkeypatch.setenv("STEPCELL_CACHE_DIR", str(tmp_path / "cache"))
    library = build_host([s.bundle for s in structures], tmp_path, compiler, sanitize=compiler == "gcc")
    assert wrong(structures, lambda jobs: run_host(library, jobs)) == {}


def test_an_emulated_cortex_m4_equals_the_reference(tmp_path: Path, structures: list[Structure]) -> None:
    require_tool("arm-gcc", "unicorn", "elftools")
    elf = build_firmware([s.bundle for s in structures], BOARD, tmp_path, "arm-gcc")
    assert wrong(structures, lambda jobs: run_unicorn(elf, M4, jobs)) == {}


@pytest.mark.parametrize(("activations", "allowed"), [("int8", 0.04), ("int16", 0.025)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_integers_stay_close_to_the_float_network(
    kind: str, activations: Activations, allowed: float
) -> None:
    """Root mean square of the error, of the deviation of the output."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        model = attention_model(rng, kind, ROWS)
        data = random_data(rng, model, steps=ROWS)
        assert _error(model, quantize(model, data, activations), data) < allowed


def _error(model: Model, qmodel: QModel, data: Sequences) -> float:
    """Of the last function's only output."""
    feeds = quantize_sequences(qmodel, data)
    function, q_function = model.functions[-1], qmodel.functions[-1]
    (wanted,) = run_float_functions(model, data)[function.name].outputs(function).values()
    outputs, lengths = run_functions(qmodel, feeds)[function.name].outputs, feeds[function.name].lengths
    (found,) = real_outputs(q_function, outputs, lengths).values()
    valid = np.arange(wanted.shape[1]) < lengths[:, None] if wanted.ndim == 3 else np.full(len(wanted), True)
    difference = (wanted - found)[valid]
    return float(np.sqrt(np.mean(difference**2)) / np.std(wanted[valid]))


def pooling(
    width: int,
    extra: tuple[Op, ...] = (),
    scale: float = 1.0,
    count: str = "seen_next",
    output: str = "y",
) -> Model:
    """x [width] -> a memory of 4 rows -> attention to itself with a constant query."""
    ops = (
        Append("memory", "seen", "x", Value("grown", (4, width))),
        Count("seen", Value("seen_next", (), "token")),
        Constant(Value("query", (width,)), "q"),
        Attend("query", "grown", "grown", count, Value("y", (width,)), scale),
        *extra,
    )
    states = (State("memory", np.zeros((4, width))), State("seen", np.zeros(()), "token"))
    inputs = (Value("x", (width,)), *(() if count == "seen_next" else (Value(count, (), "token"),)))
    stage = Stage("main", inputs, ops, (("memory", "grown"), ("seen", "seen_next")), (output,))
    function = Function("main", stage.inputs, (stage,), None, (output,))
    return verify(Model("pooling", (function,), states, {"q": np.linspace(-1, 1, width)}))


def pooling_data(width: int, steps: int = 4) -> Sequences:
    x = np.random.default_rng(0).standard_normal((5, steps, width))
    return Sequences(x, np.full(5, steps), more={"given": np.ones((5, steps))})


def memory_of(qmodel: QModel) -> QValue:
    return next(state.value for state in qmodel.states if state.value.name == "memory")


@pytest.mark.parametrize(
    ("width", "activations", "bits"), [(5, "int8", 8), (4, "int8", 16), (5, "int16", 16), (4, "int16", 16)]
)
def test_wide_rows_are_int8_unless_the_user_asks_for_int16(
    width: int, activations: Activations, bits: int
) -> None:
    qmodel = quantize(pooling(width), pooling_data(width), activations)
    assert memory_of(qmodel).bits == bits
    assert ("int8" if bits == 8 else "int16") in qmodel.choices["memory"]


def test_a_memory_that_arithmetic_reads_is_int16() -> None:
    other = (Activate("grown", Value("relu", (4, 6)), "relu"),)
    assert memory_of(quantize(pooling(6, other), pooling_data(6))).bits == 16


def test_auto_makes_a_memory_int16_where_that_halves_the_error() -> None:
    """One element of the rows is a hundred times as large as the others."""
    small = Take("y", Value("small", (7,)), tuple(range(1, 8)))
    model, data = pooling(8, (small,), output="small"), pooling_data(8)
    data.x[..., 0] *= 100.0
    plain, automatic = quantize(model, data), quantize(model, data, "auto")
    assert (memory_of(plain).bits, memory_of(automatic).bits) == (8, 16)
    assert "the error of the outputs fell" in automatic.choices["memory"]
    assert _error(model, automatic, data) < _error(model, plain, data) / 2


def test_a_memory_is_written_row_by_row_where_it_lies() -> None:
    plan = lower(quantize(pooling(6), pooling_data(6)), M4)
    assert [call.arguments[0] for call in plan.calls if "append" in call.function] == ["s->memory"]
    copied = [call for call in plan.calls if call.function == "sc_copy" and "s->memory" in call.arguments]
    assert copied == []
    assert {field.name: field.bytes for field in plan.state} == {"seen": 4, "memory": 24}


@pytest.mark.parametrize("kind", ["stages", "causal"])
def test_longer_sequences_than_the_memory_are_refused(kind: str) -> None:
    rng = np.random.default_rng(0)
    model = attention_model(rng, kind, ROWS)
    longer, data = random_data(rng, model, steps=ROWS + 1), random_data(rng, model, steps=ROWS)
    qmodel = quantize(model, data)
    with pytest.raises(StepcellError, match=f"a sequence has {ROWS + 1} steps; its memory .* holds {ROWS}"):
        quantize(model, longer)
    with pytest.raises(StepcellError, match=f"a sequence has {ROWS + 1} steps; its memory .* holds {ROWS}"):
        quantize_sequences(qmodel, longer)


@pytest.mark.parametrize(("asked", "bound"), [(None, ROWS), (100, ROWS), (3, 3)])
def test_a_memory_bounds_the_steps_of_a_run(tmp_path: Path, asked: int | None, bound: int) -> None:
    plan = lower(drawn("stages", 0), M4, max_steps=asked)
    assert plan.main.max_steps == bound
    header = (emit(plan, tmp_path / "c", {}, {}) / "attention.h").read_text()
    assert f"#define ATTENTION_MAX_STEPS {bound} " in header


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (pooling(3, scale=-1.0), "its scores are multiplied by -1"),
        (pooling(3, count="given"), "'given' says how many rows it has, but does not count steps"),
    ],
)
def test_what_has_no_integers_is_refused_by_name(model: Model, why: str) -> None:
    with pytest.raises(StepcellError, match=why):
        quantize(model, pooling_data(3))


def test_a_file_and_the_text_hold_memories_and_attention() -> None:
    qmodel = drawn("functions", 1)
    loaded = load_qmodel(dump_qmodel(qmodel), "integer.npz")
    assert [op for op in loaded.all_ops if isinstance(op, QAppend | QAttend)] == [
        op for op in qmodel.all_ops if isinstance(op, QAppend | QAttend)
    ]
    text = qmodel_to_text(loaded)
    assert " = append(memory" in text
    assert "value_shift=" in text


def test_a_short_sequence_costs_less_than_a_full_memory(tmp_path: Path) -> None:
    require_tool("arm-gcc", "unicorn", "elftools", "capstone")
    rng = np.random.default_rng(3)
    model = attention_model(rng, "causal", 40, max_units=40)
    plan = lower(quantize(model, random_data(rng, model, steps=40)), M4)
    bundle = load_bundle(emit(plan, tmp_path / "c", {}, {}))
    elf = build_firmware([bundle], BOARD, tmp_path / "out", "arm-gcc")
    counts = [
        {layer.function: layer.instructions for layer in profile_step(elf, bundle, BOARD, steps=steps).layers}
        for steps in (1, 40)  # of the second step, and of 40 steps with a full memory
    ]
    grows = [name for name in counts[0] if name.startswith(("sc_scores", "sc_weights", "sc_mix"))]
    assert len(grows) == 3
    assert all(counts[0][name] < 0.2 * counts[1][name] for name in grows), counts
