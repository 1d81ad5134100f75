"""Compression: passes `Model -> Model` that make a network smaller. One-shot pruning needs no torch."""

from stepcell.compress.gradual import GradualPruner
from stepcell.compress.prune import prune
from stepcell.compress.retrain import prune_and_retrain
from stepcell.compress.rounding import round_to_data
from stepcell.compress.schedule import cubic_density

__all__ = ["GradualPruner", "cubic_density", "prune", "prune_and_retrain", "round_to_data"]
