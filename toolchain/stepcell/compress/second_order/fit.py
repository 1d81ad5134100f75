"""The weights that masks keep, fitted to the dense model's sums: least squares in closed form, by rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stepcell.compress.operands import Recording, record
from stepcell.compress.prune import prunable
from stepcell.compress.second_order.importance import Sensitivity, importance_of
from stepcell.compress.second_order.layers import Layer, heads_of, layers_of
from stepcell.compress.second_order.removal import dampings, hessian
from stepcell.compress.second_order.samples import Floats, Importance, Samples, few_sequences, samples_of
from stepcell.ir.model import BoolArray, FloatArray, Model
from stepcell.ir.sequences import Sequences
from stepcell.ir.verify import verify

STEPS = 20_000
"""Of each operation that are used, of those of twice as many: all of what 1,000 spoken words have, nearly."""

OnProgress = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, how much there is)"""


@dataclass(frozen=True, eq=False)
class Study:
    """What a dense model does over sequences: its sums at the sampled steps, and how much they matter."""

    dense: Model
    data: Sequences
    importance: Importance
    recording: Recording
    steps: int
    seed: int

    def samples(self, model: Model, layer: Layer, recording: Recording) -> Samples:
        """What the layer reads in `model`, whose run over the data `recording` is."""
        return samples_of(model, layer, recording, self.importance, self.steps, self.seed)

    def targets(self, layer: Layer) -> Floats:
        """The dense model's sums, [rows, S]."""
        return self.samples(self.dense, layer, self.recording).sums(layer.weights(self.dense))


def study(
    dense: Model,
    layers: Sequence[Layer],
    data: Sequences,
    steps: int,
    sensitivity: Sensitivity | None,
    seed: int,
) -> Study:
    """Run the model over some of the data. Raises StepcellError for data that does not fit its inputs."""
    few = few_sequences(data, steps, seed)
    sites = [site for layer in layers for site in layer.sites]
    heads = [site for layer in layers_of(dense, heads_of(dense)) for site in layer.sites]
    importance = importance_of(dense, few, sites, sensitivity, seed)
    return Study(dense, few, importance, record(dense, few, [*sites, *heads]), steps, seed)


def refit(
    model: Model,
    dense: Model,
    data: Sequences,
    *,
    matrices: Sequence[str] | None = None,
    rounds: int = 2,
    steps: int = STEPS,
    sensitivity: Sensitivity | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Model:
    """`model` with the weights that its masks keep, and biases, fitted so that its sums are those of `dense`.

    Each round runs the compressed model over the data, and fits every row, weighted by how much its sum
    matters to the outputs (`sensitivity`, see `prune_in_closed_form`), to the dense model's sums from what
    the compressed model itself reads there; the last one fits the Dense layers before the outputs, too.
    matrices: the layers that are fitted, by default those of masked matrices. No labels, no gradient steps.
    Raises StepcellError for data that does not fit, and for layers that cannot be fitted, by name.
    """
    masked = [name for name in model.masks if not model.masks[name].keep.all()]
    layers = layers_of(dense, prunable(model, masked if matrices is None else matrices))
    found = study(dense, layers, data, steps, sensitivity, seed)
    return verify(refitted(model, layers, found, rounds, on_progress))


def refitted(
    model: Model, layers: Sequence[Layer], found: Study, rounds: int, on_progress: OnProgress | None
) -> Model:
    """`refit` of layers whose dense sums are known already."""
    heads = layers_of(found.dense, heads_of(found.dense)) if rounds else ()
    plain = replace(found, importance={})  # the sums of a head are the answers: each matters alike
    passes = [(layers, found)] * rounds + [(heads, plain)] * bool(heads)
    for at, (some, how) in enumerate(passes):
        if on_progress is not None:
            on_progress("fitting", at, len(passes))
        recording = record(model, found.data, [site for layer in some for site in layer.sites])
        changes: dict[str, FloatArray] = {}
        for layer in some:
            samples = how.samples(model, layer, recording)
            changes |= layer.parameters(model, fitted(model, layer, samples, how.targets(layer)))
        model = model.with_weights(changes)
    return model


def fitted(model: Model, layer: Layer, samples: Samples, targets: Floats) -> FloatArray:
    """[W R b] of the layer [rows, n], what is alive moved to where the sums are nearest to the targets."""
    alive = layer.alive(model)
    weights = np.where(alive, layer.weights(model), 0.0)
    return fitted_rows(samples, targets - samples.sums(weights), weights, alive)


def fitted_rows(samples: Samples, errors: Floats, weights: FloatArray, alive: BoolArray) -> FloatArray:
    """Each row plus the d that makes the sum of s (error - d v)^2 + damping d^2 least, over what is alive."""
    found, damping = weights.copy(), dampings(samples)
    for row, keep in enumerate(alive):
        h, u = hessian(samples, row, keep)
        gradient = u @ (errors[row] * np.sqrt(samples.importance[row]))
        found[row, keep] += np.linalg.solve(h + damping[row] * np.eye(len(h)), gradient.astype(np.float64))
    return found
