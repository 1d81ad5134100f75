"""The shared training loop and the ONNX file that it ends in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sequences.dataset import Dataset, pad, split
from sequences.export import export_onnx
from sequences.model import CellName, classifier
from sequences.training import evaluate, feature_scale, train


@pytest.fixture(scope="module")
def ramps() -> Dataset:
    """60 noisy ramps of 5-12 frames, rising (1) or falling (0)."""
    random = np.random.default_rng(0)
    labels = [i % 2 for i in range(60)]
    rows = [
        (2 * label - 1) * np.linspace(-1, 1, length)[:, np.newaxis]
        + 0.1 * random.standard_normal((length, 2))
        for label, length in zip(labels, random.integers(5, 13, 60), strict=True)
    ]
    return pad([row.astype(np.float32) for row in rows], labels)


def test_training_learns_and_leaves_the_model_at_its_best_epoch(ramps: Dataset) -> None:
    training, validation = split(ramps, 0.2, seed=0)
    model = classifier("gru", 4, 2, feature_scale(training), seed=0)
    best = train(model, training, validation, 15, 0)
    assert evaluate(model, validation) == pytest.approx((best.loss, best.accuracy))
    assert best.accuracy == 1


def test_the_same_seed_gives_the_same_weights(ramps: Dataset) -> None:
    training, validation = split(ramps, 0.2, seed=0)
    weights = []
    for _ in range(2):
        model = classifier("gru", 4, 2, feature_scale(training), seed=1)
        train(model, training, validation, 2, 1)
        weights.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    assert torch.equal(*weights)


def test_feature_scale_does_not_count_padding() -> None:
    rows = [np.array([[1.0], [3.0]], np.float32), np.array([[5.0]], np.float32)]
    assert feature_scale(pad(rows, [0, 1])).item() == pytest.approx(2.0)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_exported_file_agrees_with_torch_at_every_batch_and_length(
    cell: CellName, ramps: Dataset, tmp_path: Path
) -> None:
    model = classifier(cell, 4, 2, feature_scale(ramps), seed=0)
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    x, lengths = torch.from_numpy(ramps.x), torch.from_numpy(ramps.lengths)
    expected = model(x, lengths).detach().numpy()
    for index in range(10):
        (logits,) = session.run(None, {"x": ramps.sequence(index)[np.newaxis]})
        np.testing.assert_allclose(logits[0], expected[index], atol=1e-5)
    (batch,) = session.run(None, {"x": ramps.x})
    np.testing.assert_allclose(batch, model(x).detach().numpy(), atol=1e-5)
