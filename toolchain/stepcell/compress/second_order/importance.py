"""How much each sum of a model matters to its outputs, at every step."""

import importlib.util
from collections.abc import Sequence
from typing import Literal

from stepcell.compress.operands import Site
from stepcell.compress.second_order.samples import Importance
from stepcell.ir.model import Model
from stepcell.ir.sequences import Sequences

Sensitivity = Literal["outputs", "none"]
"""outputs: the squared derivative of the outputs, through all later steps (needs torch); none: 1."""


def importance_of(
    model: Model, data: Sequences, sites: Sequence[Site], how: Sensitivity | None, seed: int
) -> Importance:
    """By site; empty where every sum counts alike. None: by the outputs where torch is installed."""
    if how == "none" or (how is None and importlib.util.find_spec("torch") is None):
        return {}
    from stepcell.train.sensitivity import output_sensitivity

    return output_sensitivity(model, data, [site.key for site in sites], seed)
