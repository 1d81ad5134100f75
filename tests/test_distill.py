"""Distillation: smaller and sparser students learn what a teacher answers, with labels or without."""

from dataclasses import replace

import numpy as np
import pytest

from random_models import random_model, random_sequences
from stepcell.compress import distill, new_student, prune
from stepcell.errors import StepcellError
from stepcell.ir import Finish, Function, Model, Stage, State, verify
from stepcell.ir.model import FloatArray, recurrent_ops
from stepcell.ir.ops import Activate, Concat, Conv, Dense, Lstm, Take, Value
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from stepcell.train import Epoch, fit, from_module, to_module
from stepcell.train.imitation import Imitation, Parts
from training_models import classifier, every_operation, ragged, speakers, stack, weight

TRAIN, VALIDATION, TEST = (speakers(n, seed=s) for n, s in ((160, 0), (64, 1), (200, 2)))
UNLABELLED = [replace(data, y=None) for data in (TRAIN, VALIDATION)]


def _answers(model: Model, data: Sequences) -> FloatArray:
    (output, *_) = run_float(model, data.x, data.lengths).outputs(model.main).values()
    return output


def _accuracy(model: Model, data: Sequences) -> float:
    return float((_answers(model, data).argmax(-1) == data.y).mean())


def _distance(model: Model, teacher: Model) -> float:
    """The mean distance of probabilities on the test data."""
    return float(np.abs(_answers(model, TEST) - _answers(teacher, TEST)).mean())


@pytest.fixture(scope="module", params=["gru", "lstm"])
def teacher(request: pytest.FixtureRequest) -> Model:
    """A trained layer of 16 units."""
    model = classifier(request.param, hidden=16)
    module = to_module(model)
    fit(module, TRAIN, VALIDATION, epochs=12, batch_size=16, learning_rate=0.03)
    return from_module(module, model)


def test_a_student_of_a_quarter_of_the_units_learns_without_labels(teacher: Model) -> None:
    student = new_student(teacher, 4)
    (layer,) = recurrent_ops(student)
    assert layer.h_next.shape == (4,)
    learnt = distill(teacher, student, *UNLABELLED, epochs=15, learning_rate=2e-2)
    assert _distance(learnt, teacher) < 0.4 * _distance(student, teacher)
    assert _accuracy(learnt, TEST) > _accuracy(teacher, TEST) - 0.01


def test_a_pruned_student_learns_and_stays_pruned(teacher: Model) -> None:
    student = prune(teacher, 0.8, pattern="unstructured")
    learnt = distill(teacher, student, *UNLABELLED, epochs=10, learning_rate=2e-2)
    for name, mask in student.masks.items():
        np.testing.assert_array_equal(learnt.masks[name].keep, mask.keep)
        assert not learnt.weights[name][~mask.keep].any()
    assert _distance(learnt, teacher) < 0.4 * _distance(student, teacher)


def test_labels_join_where_there_are_any(teacher: Model) -> None:
    student = new_student(teacher, 5)
    losses = [
        Imitation(student, teacher, Parts(1.0, 0.0, labels), 2.0).loss(data, data).item()
        for labels, data in ((1.0, TRAIN), (1.0, UNLABELLED[0]), (0.0, TRAIN))
    ]
    assert losses[0] > losses[1] == losses[2]


def test_the_loss_of_the_teacher_itself_is_nothing_but_the_labels(teacher: Model) -> None:
    imitation = Imitation(teacher, teacher, Parts(1.0, 0.5, 0.0), 2.0)
    weights, bias = imitation.maps.parameters()
    weights.data = weights.new_tensor(np.eye(16))
    bias.data = bias.new_zeros(16)
    assert abs(imitation.loss(TRAIN, TRAIN).item()) < 1e-6


def test_hidden_states_are_learnt_through_a_map(teacher: Model) -> None:
    silent = teacher.with_weights({"D": 0 * teacher.weights["D"]})  # whose answers tell nothing
    student, found = new_student(silent, 5), []
    for hidden in (0.0, 1.0):
        learnt = distill(silent, student, *UNLABELLED, hidden=hidden, epochs=8, learning_rate=2e-2)
        found.append(_unexplained(learnt, teacher))
    assert found[1] < 0.75 * found[0]


def _unexplained(student: Model, teacher: Model) -> float:
    """The share of the teacher's last hidden state that no linear map of the student's gives."""
    mine, theirs = (run_float(model, TEST.x, TEST.lengths).ends["h0"] for model in (student, teacher))
    x = np.concatenate([mine, np.ones((len(mine), 1))], axis=1)
    left = theirs - x @ np.linalg.lstsq(x, theirs, rcond=None)[0]
    return float((left**2).sum() / ((theirs - theirs.mean(axis=0)) ** 2).sum())


def test_layers_of_fewer_learn_the_last_of_several() -> None:
    teacher, student = stack(("gru",) * 4, 3, 6, 4, seed=0), stack(("gru", "gru"), 3, 5, 4, seed=0)
    imitation = Imitation(student, teacher, Parts(), 2.0)
    assert imitation._pairs == [("h0_next", "h1_next"), ("h1_next", "h3_next")]
    assert [tuple(p.shape) for p in imitation.maps.parameters()] == [(6, 5), (6,), (6, 5), (6,)]


def test_the_best_epoch_by_validation_loss_is_kept(teacher: Model) -> None:
    student, seen = new_student(teacher, 5), list[Epoch]()
    learnt = distill(
        teacher, student, *UNLABELLED, hidden=0.0, epochs=8, learning_rate=0.2, on_epoch=seen.append
    )
    imitation = Imitation(learnt, teacher, Parts(1.0, 0.0, 0.0), 2.0)
    kept = imitation.loss(UNLABELLED[1], UNLABELLED[1]).item()
    assert kept == pytest.approx(min(epoch.validation.loss for epoch in seen), rel=1e-4)
    assert all(epoch.validation.accuracy is None for epoch in seen)


def test_a_seed_repeats_itself(teacher: Model) -> None:
    student = new_student(teacher, 5)
    first, second = (distill(teacher, student, *UNLABELLED, epochs=2, seed=7) for _ in range(2))
    for name in first.weights:
        np.testing.assert_array_equal(first.weights[name], second.weights[name])


def _voice_activity(seed: int) -> Model:
    """Two convolutions over the samples of a step, an LSTM, a probability at every step."""
    random = np.random.default_rng(seed)
    weights = {
        "C": weight(random, 8, 3, 1),
        "Cb": weight(random, 8),
        "E": weight(random, 6, 3, 8),
        "Eb": weight(random, 6),
        "W": weight(random, 32, 24),
        "R": weight(random, 32, 8),
        "Wb": weight(random, 32),
        "Rb": weight(random, 32),
        "D": 4 * weight(random, 1, 8),
        "Db": np.zeros(1),
    }
    ops = (
        Take("x", Value("samples", (8, 1)), tuple(range(8))),
        Conv("samples", Value("c", (8, 8)), "C", "Cb", (1,), (1,), ((1, 1),), 1),
        Activate("c", Value("cr", (8, 8)), "relu"),
        Conv("cr", Value("e", (4, 6)), "E", "Eb", (2,), (1,), ((1, 1),), 1),
        Activate("e", Value("er", (4, 6)), "relu"),
        Take("er", Value("flat", (24,)), tuple(range(24))),
        Lstm("flat", "h", "c0", Value("h_next", (8,)), Value("c_next", (8,)), "W", "R", "Wb", "Rb"),
        Dense("h_next", Value("logit", (1,)), "D", "Db"),
        Activate("logit", Value("speech", (1,)), "sigmoid"),
    )
    updates = (("h", "h_next"), ("c0", "c_next"))
    stage = Stage("main", (Value("x", (8,)),), ops, updates, ("speech",))
    function = Function("main", stage.inputs, (stage,), None, ("speech",))
    states = (State("h", np.zeros(8)), State("c0", np.zeros(8)))
    return verify(Model("vad", (function,), states, weights))


def test_a_network_of_convolutions_and_an_lstm_is_distilled_at_every_step() -> None:
    teacher = _voice_activity(seed=0)
    data, validation, test = (ragged(n, 12, (8,), seed=s) for n, s in ((64, 0), (16, 1), (64, 2)))
    student = new_student(prune(teacher, 0.5, pattern="unstructured"), 4)
    learnt = distill(
        teacher, student, data, validation, hidden=0.0, epochs=8, batch_size=8, learning_rate=1e-2
    )
    assert any(not np.array_equal(learnt.weights[n], student.weights[n]) for n in ("C", "E"))
    valid = np.arange(12) < test.lengths[:, None]
    wanted = _answers(teacher, test)[valid]
    errors = [np.abs(_answers(model, test)[valid] - wanted).mean() for model in (student, learnt)]
    assert errors[1] < 0.5 * errors[0]


def test_values_without_units_are_distilled_against_their_variance() -> None:
    teacher, student = (every_operation("gru", seed) for seed in (0, 1))
    data, validation = ragged(64, 6, (2, 2), seed=0), ragged(32, 6, (2, 2), seed=1)
    learnt = distill(teacher, student, data, validation, epochs=10, learning_rate=2e-2)
    errors = [
        np.mean((_answers(m, validation) - _answers(teacher, validation)) ** 2) for m in (student, learnt)
    ]
    assert errors[1] < 0.2 * errors[0]


def test_a_student_with_other_inputs_or_outputs_is_refused_by_name() -> None:
    teacher = classifier()
    with pytest.raises(StepcellError, match="its inputs are not those of its teacher"):
        distill(teacher, classifier(inputs=4), *UNLABELLED)
    finish = teacher.main.finish
    assert finish is not None
    both = Finish((*finish.ops, Concat(("y", "y"), Value("two", (8,)))), ("y", "two"))
    more = replace(teacher, functions=(replace(teacher.main, finish=both, outputs=("y", "two")),))
    with pytest.raises(StepcellError, match="it has 2 outputs"):
        distill(teacher, more, *UNLABELLED)


@pytest.mark.parametrize("seed", range(6))
def test_a_random_model_is_its_own_perfect_student(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng, max_units=12)
    data = random_sequences(rng, model)
    assert abs(Imitation(model, model, Parts(1.0, 0.0, 0.0), 2.0).loss(data, data).item()) < 1e-6
