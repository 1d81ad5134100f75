"""Write a trained classifier as an ONNX file with free batch and time axes."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from sequences.model import RecurrentClassifier


def export_onnx(model: RecurrentClassifier, path: Path) -> None:
    """x [batch, time, features] -> logits [batch, classes], read at the last frame of every sequence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    example = torch.zeros(2, 7, model.recurrent.input_size)
    with warnings.catch_warnings():
        # This exporter warns that it is the older one. It takes a second where the newer one takes several,
        # and puts less shape arithmetic around the recurrent layer.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["logits"],
            dynamic_axes={"x": {0: "batch", 1: "time"}, "logits": {0: "batch"}},
        )
