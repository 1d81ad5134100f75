"""Compression: passes `Model -> Model` that make a network smaller. One-shot pruning needs no torch."""

from stepcell.compress.criteria import CRITERIA
from stepcell.compress.distill import distill, new_student
from stepcell.compress.gradual import GradualPruner
from stepcell.compress.lasso import GroupLasso
from stepcell.compress.pattern import parse_pattern
from stepcell.compress.prune import prune
from stepcell.compress.recipe import Recipe, parse_recipe, read_recipe
from stepcell.compress.remove_layer import remove_layer
from stepcell.compress.restructure import kronecker, low_rank, share
from stepcell.compress.retrain import prune_and_retrain
from stepcell.compress.rounding import round_to_data
from stepcell.compress.schedule import cubic_density
from stepcell.compress.second_order import prune_in_closed_form, refit
from stepcell.compress.task import Task, load_task
from stepcell.compress.units import remove_units

__all__ = [
    "CRITERIA",
    "GradualPruner",
    "GroupLasso",
    "Recipe",
    "Task",
    "cubic_density",
    "distill",
    "kronecker",
    "load_task",
    "low_rank",
    "new_student",
    "parse_pattern",
    "parse_recipe",
    "prune",
    "prune_and_retrain",
    "prune_in_closed_form",
    "read_recipe",
    "refit",
    "remove_layer",
    "remove_units",
    "round_to_data",
    "share",
]
