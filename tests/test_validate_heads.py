"""Every kind of output through the whole chain: nothing may differ from the integer reference on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from import_graphs import file, recurrent, weights
from import_modules import CELLS, Network, exported
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.ir.sequences import Sequences
from stepcell.pipeline import Options, compile_model, original_of
from stepcell.validate import Validation, validate
from tools import require_tool

node = onnx.helper.make_node
HEADS = ("last", "mean", "max", "every", "every_softmax")


def random_sequences(per_step: bool = False, count: int = 12, steps: int = 10, seed: int = 0) -> Sequences:
    """x [N, T, 3] of different lengths; labels 0-3 of each sequence or of each step."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, steps + 1, count)
    lengths[0] = steps
    valid = np.arange(steps) < lengths[:, None]
    x = rng.standard_normal((count, steps, 3)) * valid[:, :, None]
    y = rng.integers(0, 4, (count, steps) if per_step else count) * (valid if per_step else 1)
    return Sequences(x, lengths, y)


def validated(
    model_file: Path, data: Sequences, backends: tuple[str, ...] = ("host",), threshold: float = 0.5
) -> Validation:
    """Compile for a Cortex-M4, then validate; whatever differs fails the test."""
    require_tool("zig", "cffi", *(["unicorn", "elftools"] if "unicorn" in backends else []))
    model = import_model(model_file)
    folder = model_file.parent / "c"
    compile_model(model, original_of(model, str(model_file)), data, folder, Options())
    result = validate(folder, data, backends, threshold)
    assert result.mismatches == 0
    assert result.float_vs_ort_max_abs < 1e-5
    assert set(result.c_vs_integer_mismatches) == set(backends)
    assert result.accuracy_c == dict.fromkeys(backends, result.accuracy_integer)
    return result


def saved(folder: Path, network: Network) -> Path:
    """The module as ONNX, as the older exporter writes it with free axes."""
    example = torch.zeros(2, 7, 3) if network.time == 1 else torch.zeros(7, 2, 3)
    (folder / "network.onnx").write_bytes(exported(network, example, dynamo=False, free=True))
    return folder / "network.onnx"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_with_every_head_is_equal_on_the_host(tmp_path: Path, cell: str, head: str) -> None:
    torch.manual_seed(0)
    data = random_sequences(head.startswith("every"))
    result = validated(saved(tmp_path, Network(cell, head)), data)
    assert result.accuracy_unit == ("step" if head.startswith("every") else "sequence")
    assert result.label_agreement > 0.9
    assert result.accuracy_source is not None
    assert result.values_compared > data.lengths.sum()


@pytest.mark.parametrize(("cell", "head"), [("gru", "mean"), ("lstm", "every_softmax"), ("rnn_relu", "max")])
def test_heads_over_time_are_equal_on_the_emulated_chip(tmp_path: Path, cell: str, head: str) -> None:
    torch.manual_seed(1)
    network = Network(cell, head, layers=2, prelude=True)
    validated(saved(tmp_path, network), random_sequences(head.startswith("every")), ("host", "unicorn"))


def test_softmax_left_to_the_caller_is_applied_before_probabilities_are_compared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    result = validated(saved(tmp_path, Network("gru", "every_softmax")), random_sequences(per_step=True))
    assert result.max_abs_error < 0.05


def test_accuracies_count_valid_steps_only(tmp_path: Path) -> None:
    """Labels of the source itself, wrong in the padding: its accuracy is 1."""
    torch.manual_seed(0)
    network = Network("gru", "every").eval()
    data = random_sequences(per_step=True)
    valid = np.arange(data.x.shape[1]) < data.lengths[:, None]
    with torch.no_grad():
        decided = network(torch.tensor(data.x, dtype=torch.float32)).argmax(-1).numpy()
    labelled = Sequences(data.x, data.lengths, np.where(valid, decided, (decided + 1) % 4))
    result = validated(saved(tmp_path, network), labelled)
    assert result.accuracy_source == 1.0
    assert result.accuracy_integer == result.label_agreement


def test_without_labels_accuracies_are_none_and_agreement_is_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = random_sequences()
    result = validated(saved(tmp_path, Network("lstm", "last")), Sequences(data.x, data.lengths))
    assert result.accuracy_source is result.accuracy_float is result.accuracy_integer is None
    assert result.accuracy_c == {"host": None}
    assert 0.9 < result.label_agreement <= 1.0


def test_float_targets_give_no_accuracy(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = random_sequences()
    result = validated(
        saved(tmp_path, Network("gru", "last")), Sequences(data.x, data.lengths, np.zeros((12, 4)))
    )
    assert result.accuracy_integer is None


def one_output(folder: Path, every_step: bool) -> Path:
    """sigmoid of one output, at the last step or squeezed to y [T, B] at every step."""
    constants = {**weights("GRU", 3, 5), "V": np.full((5, 1), 0.8, np.float32)}
    constants |= {"zero": np.array([0]), "one": np.array([1]), "last": np.array([2])}
    source, axes = ("Y", "one") if every_step else ("Y_h", "zero")
    nodes = [
        recurrent("GRU", linear_before_reset=1),
        node("Squeeze", [source, axes], ["h"]),
        node("MatMul", ["h", "V"], ["logit"]),
        node("Sigmoid", ["logit"], ["p"]),
        node("Squeeze", ["p", "last"], ["y"]) if every_step else node("Identity", ["p"], ["y"]),
    ]
    return file(folder, nodes, constants, {"x": ["T", "B", 3]})


@pytest.mark.parametrize("every_step", [False, True])
def test_one_output_is_judged_at_the_threshold(tmp_path: Path, every_step: bool) -> None:
    data = random_sequences(every_step)
    ones = Sequences(data.x, data.lengths, np.ones_like(data.y))
    shares = []
    for i, threshold in enumerate((-1.0, 0.5, 2.0)):
        (tmp_path / f"{i}").mkdir()
        result = validated(one_output(tmp_path / f"{i}", every_step), ones, threshold=threshold)
        shares.append(result.accuracy_integer)
    assert shares[0] == 1.0
    assert shares[1] is not None
    assert 0.0 < shares[1] < 1.0
    assert shares[2] == 0.0


def test_a_frozen_time_axis_validates_at_its_own_length_and_refuses_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "network.onnx"
    path.write_bytes(exported(Network("gru", "last"), torch.zeros(1, 10, 3), dynamo=False, free=False))
    data = random_sequences()
    full = Sequences(np.random.default_rng(0).standard_normal((8, 10, 3)), np.full(8, 10))
    validated(path, full)
    with pytest.raises(StepcellError, match=r"a sequence has \d steps; the file runs exactly 10") as refusal:
        validate(tmp_path / "c", data)
    assert "free time axis" in refusal.value.hint


def test_progress_hears_every_stage_and_ends_each_backend_at_one(tmp_path: Path) -> None:
    require_tool("zig", "cffi")
    torch.manual_seed(0)
    path = saved(tmp_path, Network("gru", "last"))
    long = Sequences(np.random.default_rng(0).standard_normal((5, 3000, 3)), np.full(5, 3000))
    model = import_model(path)
    compile_model(model, original_of(model, str(path)), long, tmp_path / "c", Options())
    heard: list[tuple[str, float]] = []
    validate(tmp_path / "c", long, ("host",), on_stage=lambda stage, part: heard.append((stage, part)))
    assert list(dict.fromkeys(stage for stage, _ in heard)) == [
        "source in ONNX Runtime",
        "compressed float model",
        "integer reference",
        "integer model in ONNX Runtime",
        "C on host",
    ]
    assert [part for stage, part in heard if stage == "C on host"] == [0.0, 0.4, 0.8, 1.0]


def test_numbers_beyond_calibration_are_counted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path, data = saved(tmp_path, Network("gru", "last")), random_sequences()
    result = validated(path, data)
    assert result.clipped_inputs == {"x": 0}
    louder = replace(data, x=3 * data.x)
    peak = np.abs(data.x).max()
    beyond = validate(tmp_path / "c", louder)
    assert beyond.clipped_inputs == {"x": int((np.abs(louder.x) >= peak / 127 * 127.5).sum())}
    assert beyond.clipped_inputs["x"] > 0
    assert beyond.mismatches == 0
