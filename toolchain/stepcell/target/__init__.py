"""Cores and boards that a model can be compiled for, read from `targets/*.toml`."""

from stepcell.target.load import board_for, list_targets, load_board, load_core, resolve_target
from stepcell.target.model import Board, Core, CycleTable

__all__ = [
    "Board",
    "Core",
    "CycleTable",
    "board_for",
    "list_targets",
    "load_board",
    "load_core",
    "resolve_target",
]
