"""Training: a torch module built from a Model, a loop that trains it, and the way back. Needs torch."""

import importlib.util

from stepcell.errors import StepcellError

if importlib.util.find_spec("torch") is None:
    raise StepcellError("training: PyTorch is not installed.", "pip install 'stepcell[torch]'.")

from stepcell.train.distillation import Teacher
from stepcell.train.evaluate import Score, score
from stepcell.train.loop import Epoch, History, fit
from stepcell.train.module import StepModule, from_module, to_module
from stepcell.train.noise import Noise
from stepcell.train.qat import fit_quantized
from stepcell.train.quantized import QuantizedModule, to_quantized_module

__all__ = [
    "Epoch",
    "History",
    "Noise",
    "QuantizedModule",
    "Score",
    "StepModule",
    "Teacher",
    "fit",
    "fit_quantized",
    "from_module",
    "score",
    "to_module",
    "to_quantized_module",
]
