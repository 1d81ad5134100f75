"""Spoken digits: the example's GRU-32 keeps its labels as integers and as C, over all 3,000 clips."""

from pathlib import Path

import pytest

from sequences.export import export_onnx
from sequences.training import evaluate
from spoken_digits import compile as digits
from spoken_digits.data import load, load_all, save_npz
from spoken_digits.train import train_classifier
from stepcell.pipeline import Options
from tools import require_tool


@pytest.mark.fsdd
def test_spoken_digits_keep_their_labels_as_integers_and_as_c(tmp_path: Path) -> None:
    require_tool("zig", "cffi", "unicorn", "elftools")
    training, test = load()
    model, _ = train_classifier("gru", training)
    assert evaluate(model, test)[1] >= 0.98
    export_onnx(model, tmp_path / "model.onnx")
    save_npz(tmp_path / "train.npz", training)
    save_npz(tmp_path / "all.npz", load_all())
    on_host, on_chip = digits.compile_and_validate(tmp_path, Options())
    assert on_host.label_agreement >= 0.995
    assert on_host.accuracy_c["host"] == on_host.accuracy_integer
    assert on_host.values_compared == (32 + 10) * load_all().lengths.sum()
    assert on_host.mismatches == 0
    assert on_chip.mismatches == 0
    assert on_chip.values_compared > 50 * 42


def test_the_script_says_what_to_run_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["compile.py", "--folder", str(tmp_path)])
    assert digits.main() == 2
    assert capsys.readouterr().err == f"{tmp_path} holds no model.onnx. Hint: run train.py first\n"
