"""In which order blocks are removed, and what that costs: known once, cut at any fraction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stepcell.compress.budget import DEFAULT_PATTERN
from stepcell.compress.importance import Scores
from stepcell.compress.pattern import Pattern, parse_pattern, stored_block
from stepcell.compress.prune import prunable, row_orders
from stepcell.compress.second_order.fit import STEPS, OnProgress, Study, study
from stepcell.compress.second_order.importance import Sensitivity
from stepcell.compress.second_order.layers import Layer, layers_of
from stepcell.compress.second_order.removal import Blocks, Indices, removal_scores
from stepcell.errors import StepcellError
from stepcell.ir.model import Block, FloatArray, Model
from stepcell.ir.row_order import Order
from stepcell.ir.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Ranking:
    """The scores of a model's matrices for one pattern, and the data that they come from."""

    scores: Scores
    pattern: Pattern
    layers: tuple[Layer, ...]
    found: Study


def rank_removals(
    model: Model,
    data: Sequences,
    pattern: str | Pattern = DEFAULT_PATTERN,
    *,
    matrices: Sequence[str] | None = None,
    steps: int = STEPS,
    sensitivity: Sensitivity | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Ranking:
    """What `prune_in_closed_form` finds before it knows how much to remove; its arguments and errors.

    Higher scores mean keep: the error in the outputs that a block adds, per weight, when it is its turn.
    """
    chosen = parse_pattern(pattern) if isinstance(pattern, str) else pattern
    if chosen == "units":
        raise StepcellError(
            "pruning: 'units' are removed, not masked.", "use remove_units, or another pattern."
        )
    names = prunable(model, matrices)
    layers = layers_of(model, names)
    found = study(model, layers, data, steps, sensitivity, seed)
    scores: dict[str, FloatArray] = {}
    for layer in layers:
        scores |= _scores(found, layer, stored_block(chosen), names, on_progress)
    return Ranking(scores, chosen, layers, found)


def _scores(
    found: Study, layer: Layer, block: Block, names: Sequence[str], on_progress: OnProgress | None
) -> dict[str, FloatArray]:
    model = found.dense

    def report(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(f"removing from {layer.matrices[-1]}", done, total)

    samples = found.samples(model, layer, found.recording)
    blocks = _blocks(layer, row_orders(model, block)[layer.matrices[0]], block, names)
    joined = removal_scores(samples, layer.weights(model), layer.alive(model), blocks, report)
    if not found.importance:
        joined = joined / max(samples.variance(layer.weights(model)), np.finfo(float).tiny)
    return {name: part for name, part in layer.parameters(model, joined).items() if name in names}


def _blocks(layer: Layer, order: Order, block: Block, names: Sequence[str]) -> Blocks:
    padded = np.append(order, np.full(-len(order) % block.rows, -1))
    spans = [span for name, span in layer.spans().items() if name in names]
    columns = [_cut(start, stop, block.cols) for start, stop in spans]
    return Blocks(padded.reshape(-1, block.rows), np.concatenate(columns))


def _cut(start: int, stop: int, width: int) -> Indices:
    """[blocks, width]: the columns of a matrix, -1 behind its last one."""
    at = np.arange(start, start + -(-(stop - start) // width) * width)
    return np.where(at < stop, at, -1).reshape(-1, width)
