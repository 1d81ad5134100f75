"""TensorFlow Lite files: what is imported, that it computes what the interpreter does, what is refused.

The files are made by scripts/make_tflite_fixtures.py, with what LiteRT's interpreter computed recorded
beside them; these tests need no interpreter, but use one where it is installed.
"""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edited_files import Edit, edited_tflite, operator_code
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.importers import tflite as importer
from stepcell.importers.lift import lift_graph
from stepcell.importers.tflite import import_tflite, recurrent
from stepcell.importers.tflite.moves import unit_changes, unit_permutation
from stepcell.importers.tflite.schema import parse, read_tflite
from stepcell.importers.tflite.translate import to_graph
from stepcell.importers.unrolled import rolled
from stepcell.ir import Model, to_text
from stepcell.ir.model import recurrent_ops
from stepcell.ir.ops import Gru, Lstm, Rnn
from stepcell.reference.float_model import run_float

FIXTURES = Path(__file__).parent / "fixtures" / "tflite"
FLOAT = sorted(path.stem for path in FIXTURES.glob("*_float.tflite"))
MUTATIONS_A_FILE = 250
SPLIT_OPTIONS = 35
FUZZED = [
    "lstm_int8",
    "gru_float",
    "keras3_gru_steps_float",
    "conv_lstm_float",
    "bilstm_float",
    "lstm_hybrid",
    "keras3_lstm_unrolled_float",
    "lstm_head_int8",
]


def recorded(name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(FIXTURES / f"{name}.npz") as stored:
        return stored["x"].astype(np.float64), stored["y"].astype(np.float64)


def computed(model: Model, x: np.ndarray) -> np.ndarray:
    run = run_float(model, x, np.full(len(x), x.shape[1]))
    return np.asarray(run.outputs(model.main)[model.main.outputs[0]])


@pytest.mark.parametrize("name", FLOAT)
def test_a_float_file_computes_what_its_interpreter_recorded(name: str) -> None:
    x, y = recorded(name)
    found = computed(import_model(FIXTURES / f"{name}.tflite"), x)
    assert np.abs(found.reshape(y.shape) - y).max() <= 1e-5


@pytest.mark.parametrize("name", FLOAT)
def test_every_loop_and_fused_layer_becomes_one_operation(name: str) -> None:
    kinds = {"lstm": Lstm, "bilstm": Lstm, "conv": Lstm, "gru": Gru, "rnn": Rnn}
    expected = kinds[name.removeprefix("keras3_").split("_")[0]]
    found = recurrent_ops(import_model(FIXTURES / f"{name}.tflite"))
    assert found
    assert all(isinstance(op, expected) for op in found)


def test_int8_weights_of_a_float_file_are_the_numbers_they_stand_for() -> None:
    model = import_model(FIXTURES / "lstm_hybrid.tflite")
    file = read_tflite(FIXTURES / "lstm_hybrid.tflite")
    op = file.graphs[0].operators[0]
    stored = file.graphs[0].tensors[op.inputs[2]]
    assert stored.data is not None
    assert stored.quantization is not None
    forget = stored.data.astype(np.float64) * stored.quantization.scale
    units = len(forget)
    assert np.array_equal(model.weights["lstm1_input_weights"][2 * units : 3 * units], forget)
    x, y = recorded("lstm_hybrid")
    # The interpreter rounds activations to 8 bits as it runs; the weights are the same.
    assert np.abs(computed(model, x) - y).max() < 0.02


def test_source_says_what_the_import_was_checked_against(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "find_interpreter", lambda: None)
    model = import_tflite(FIXTURES / "lstm_float.tflite")
    assert model.source is not None
    assert "not installed" in model.source.judge
    assert "checked against nothing" in to_text(model)


def test_interpreter_catches_a_wrong_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(recurrent, "_ONNX_ORDER", (0, 1, 3, 2))
    with pytest.raises(StepcellError, match=r"differs from its source by"):
        import_tflite(FIXTURES / "lstm_float.tflite")


def test_cell_clip_that_cannot_be_reached_is_left_out_and_any_other_kept() -> None:
    path = FIXTURES / "lstm_float.tflite"
    assert "cell_clip" not in _lstm_attributes(path.read_bytes())

    def tighten(model: Any) -> None:
        model.subgraphs[0].operators[0].builtinOptions.cellClip = 0.5

    assert _lstm_attributes(edited_tflite(path, tighten))["cell_clip"] == 0.5


def test_a_cell_clip_that_acts_is_imported_exactly(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")

    def tighten(model: Any) -> None:
        model.subgraphs[0].operators[0].builtinOptions.cellClip = 0.2

    path = tmp_path / "clipped.tflite"
    path.write_bytes(edited_tflite(FIXTURES / "lstm_float.tflite", tighten))
    (op,) = recurrent_ops(import_tflite(path))
    assert isinstance(op, Lstm)
    assert op.cell_clip == pytest.approx(0.2)


def _lstm_attributes(content: bytes) -> dict[str, Any]:
    nodes = to_graph(parse(content, "model.tflite")).nodes
    return dict(next(node for node in nodes if node.op == "LSTM").attributes)


def _operator(model: Any, code: int) -> None:
    model.operatorCodes[0].builtinCode = code
    model.operatorCodes[0].deprecatedBuiltinCode = min(code, 127)


def _options(**changes: Any) -> Edit:
    def edit(model: Any) -> None:
        for key, value in changes.items():
            setattr(model.subgraphs[0].operators[0].builtinOptions, key, value)

    return edit


def _input(k: int, tensor: int) -> Edit:
    def edit(model: Any) -> None:
        operator = model.subgraphs[0].operators[0]
        operator.inputs = [tensor if i == k else found for i, found in enumerate(operator.inputs)]

    return edit


REFUSED: dict[str, tuple[Edit, str]] = {
    "another operator": (lambda m: _operator(m, 27), r"\(SVDF\) is an unsupported operator; allowed are"),
    "an unknown operator": (lambda m: _operator(m, 9999), r"\(operator 9999\) is an unsupported"),
    "layer norm": (_input(20, 15), r"normalizes its gates"),
    "a projection": (_input(16, 15), r"has a projection"),
    "another activation": (_options(fusedActivationFunction=1), r"an activation other than tanh"),
    "diagonal weights": (_options(diagonalRecurrentTensors=True), r"diagonal recurrent weights"),
    "no weights": (_input(2, -1), r"lacks the weights of a gate"),
    "weights from nowhere": (_input(2, 20), r"only a constant is allowed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_imported_is_refused_by_name(case: str) -> None:
    edit, message = REFUSED[case]
    content = edited_tflite(FIXTURES / "lstm_float.tflite", edit)
    with pytest.raises(StepcellError, match=message):
        lift_graph(to_graph(parse(content, "model.tflite")), "model")


LOOPS: dict[str, tuple[Edit, str]] = {
    "a condition that is no count": (
        lambda m: operator_code(m, 1, 0, "GREATER"),
        r"number of steps that is not constant",
    ),
    "a counter that steps by two": (lambda m: _constant(m, 2, 10, 2), r"model\.tflite: node '\w+' \(WHILE\)"),
    "a shorter loop": (lambda m: _constant(m, 1, 5, 5), r"steps of a sequence of another length"),
}


def _constant(model: Any, graph: int, tensor: int, value: int) -> None:
    """Another number in a constant that only this graph reads."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.int32(value).tobytes(), np.uint8)
    model.buffers.append(buffer)
    model.subgraphs[graph].tensors[tensor].buffer = len(model.buffers) - 1


@pytest.mark.parametrize("case", LOOPS)
def test_loops_that_do_not_run_over_time_are_refused(case: str) -> None:
    edit, message = LOOPS[case]
    content = edited_tflite(FIXTURES / "gru_float.tflite", edit)
    with pytest.raises(StepcellError, match=message):
        lift_graph(to_graph(parse(content, "model.tflite")), "model")


def test_a_split_whose_options_do_not_say_its_parts_is_refused() -> None:
    """LiteRT reads the number of parts without asking whether it is there."""

    def strip(model: Any) -> None:
        split = next(op for op in model.subgraphs[0].operators if op.builtinOptionsType == SPLIT_OPTIONS)
        split.builtinOptionsType, split.builtinOptions = 0, None

    content = edited_tflite(FIXTURES / "keras3_lstm_unrolled_float.tflite", strip)
    with pytest.raises(StepcellError, match=r"\(SPLIT\) has 4 outputs for 0 parts"):
        lift_graph(to_graph(parse(content, "model.tflite")), "model")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks the identifier TFL3"),
        (b"\x1c\0\0\0TFL3", "an offset leads out of the file"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(64), "an offset leads out of the file"),
        (b"\x08\0\0\0TFL3" + bytes(4096), "it has no graph"),
    ],
)
def test_what_is_no_sound_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(StepcellError, match=message):
        parse(content, "model.tflite")


@pytest.mark.parametrize("name", FUZZED)
def test_damaged_files_are_refused_or_read(name: str) -> None:
    content = (FIXTURES / f"{name}.tflite").read_bytes()
    rng = np.random.default_rng(len(content))
    for _ in range(MUTATIONS_A_FILE):
        damaged = _damaged(content, rng)
        with contextlib.suppress(StepcellError):
            lift_graph(rolled(to_graph(parse(damaged, "damaged.tflite"))), "damaged")


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, words made large, pieces moved, or the end cut off."""
    data = bytearray(content)
    kind = rng.integers(4)
    if kind == 0:
        for at in rng.integers(0, len(data), rng.integers(1, 9)):
            data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        for at in rng.integers(0, len(data) // 4, rng.integers(1, 4)):
            value = int(rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, len(data) - 1]))
            data[4 * at : 4 * at + 4] = value.to_bytes(4, "little")
    elif kind == 2:
        start, to = rng.integers(0, len(data) - 64, 2)
        data[to : to + 64] = data[start : start + 64]
    else:
        del data[int(rng.integers(1, len(data))) :]
    return bytes(data)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((1, 8, 4), (8, 1, 4), [1, 0, 2]),
        ((1, 8, 1), (8, 1, 1), [1, 0, 2]),
        ((1, 8, 4), (1, 4, 8), None),
        ((1, 8, 4), (8, 4), None),
    ],
)
def test_a_reshape_that_moves_axes_of_size_one_is_a_transpose(
    before: tuple[int, ...], after: tuple[int, ...], expected: list[int] | None
) -> None:
    assert unit_permutation(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((1, 8, 4), (1, 1, 8, 4), ([], [1])),
        ((1, 1, 8, 4), (1, 8, 4), ([1], [])),
        ((1, 8, 4), (1, 8, 1, 4), ([], [2])),
        ((1, 8, 4), (1, 32), None),
    ],
)
def test_a_reshape_that_adds_or_drops_axes_of_size_one_is_told_apart(
    before: tuple[int, ...], after: tuple[int, ...], expected: object
) -> None:
    assert unit_changes(before, after) == expected
