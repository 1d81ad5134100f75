"""Data files of models with several functions, and of steps that take several frames."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from random_structures import random_data, random_structure
from stepcell.errors import StepcellError
from stepcell.ir import Function, Model, Stage, verify
from stepcell.ir.ops import Value
from stepcell.ir.sequences import (
    Sequences,
    by_function,
    check_tokens,
    frame_values,
    in_steps,
    load_sequences,
    load_sequences_for,
)
from stepcell.quantize import quantize
from stepcell.reference.float_model import run_float

X = np.arange(24.0).reshape(2, 4, 3)


def function(name: str, *inputs: Value, frames: int = 1) -> Function:
    """A function with these inputs, which computes nothing."""
    stage = Stage("main", inputs, (), (), (), frames_per_step=frames)
    return Function(name, inputs, (stage,), None, ())


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


ENCODER = function("encoder", Value("frames", (3,)))
DECODER = function("decoder", Value("words", (), "token"))


def test_plain_keys_feed_the_first_function_and_named_ones_the_others(tmp_path: Path) -> None:
    words = np.array([[1, 2, 0], [3, 4, 5]])
    arrays = {"decoder.x": words, "decoder.lengths": [2, 3], "decoder.y": [[1, 1, 0], [0, 1, 1]]}
    data = load_sequences_for(saved(tmp_path, x=X, lengths=[4, 2], **arrays), (ENCODER, DECODER))
    fed = by_function((ENCODER, DECODER), data)
    assert list(fed) == ["encoder", "decoder"]
    assert fed["encoder"] is data
    assert not data.x[1, 2:].any()
    np.testing.assert_array_equal(fed["decoder"].x, words)
    assert fed["decoder"].lengths.tolist() == [2, 3]
    assert fed["decoder"].y_per_step


def test_several_inputs_of_a_later_function_are_one_key_each(tmp_path: Path) -> None:
    later = function("decoder", Value("words", (), "token"), Value("hints", (2,)))
    arrays = {"decoder.words": np.zeros((2, 3), np.int64), "decoder.hints": np.ones((2, 3, 2))}
    data = load_sequences_for(saved(tmp_path, x=X, **arrays), (ENCODER, later))
    assert data.then["decoder"].more["hints"].shape == (2, 3, 2)


def test_taking_sequences_takes_those_of_every_function() -> None:
    data = Sequences(X, np.array([4, 2]), then={"decoder": Sequences(X + 1, np.array([1, 3]))})
    taken = data.take(np.array([1])).then["decoder"]
    assert taken.lengths.tolist() == [3]
    np.testing.assert_array_equal(taken.x, X[1:, :3] + 1)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": X}, "function decoder: it has no array 'x'"),
        ({"x": X, "decoder.x": np.zeros((3, 2), np.int64)}, "2 sequences to encoder and 3 to decoder"),
        ({"x": X, "decoder.x": np.zeros((2, 2))}, "function decoder: 'x' holds float64"),
        (
            {"x": X, "decoder.x": np.zeros((2, 2), np.int64), "decoder.lengths": [1, 3]},
            "function decoder: 'lengths' holds 1 to 3",
        ),
    ],
)
def test_mistakes_name_the_function(tmp_path: Path, arrays: dict[str, object], complaint: str) -> None:
    with pytest.raises(StepcellError, match=complaint):
        load_sequences_for(saved(tmp_path, **arrays), (ENCODER, DECODER))


def test_a_function_without_data_is_named() -> None:
    with pytest.raises(StepcellError, match="nothing for the function 'decoder'"):
        by_function((ENCODER, DECODER), Sequences(X, np.array([4, 4])))


def test_data_counts_frames_and_a_step_takes_several(tmp_path: Path) -> None:
    pairs = function("main", Value("x", (2, 3)), frames=2)
    data = load_sequences_for(saved(tmp_path, x=X, lengths=[4, 2], y=[[1, 0], [1, 1]]), (pairs,))
    assert frame_values(pairs) == (Value("x", (3,)),)
    assert data.frames_per_step == 2
    assert data.y_per_step
    assert np.asarray(data.y).tolist() == [[1, 0], [1, 0]]
    steps, lengths = in_steps(pairs, {"x": X}, np.array([4, 2]))
    assert lengths.tolist() == [2, 1]
    np.testing.assert_array_equal(steps["x"], X.reshape(2, 2, 2, 3))


@pytest.mark.parametrize(("frames", "lengths"), [(4, [4, 3]), (3, [2, 2])])
def test_a_sequence_that_ends_within_a_step_is_refused(frames: int, lengths: list[int]) -> None:
    pairs = function("main", Value("x", (2, 3)), frames=2)
    with pytest.raises(StepcellError, match="has 3 frames, and one step of 'main' takes 2"):
        in_steps(pairs, {"x": X[:, :frames]}, np.array(lengths))


def test_frames_of_one_step_are_what_the_interpreter_sees() -> None:
    rng = np.random.default_rng(3)
    model = random_structure(rng, structure="step", inputs="one", functions="one", frames=3)
    data = random_data(rng, model)
    grouped = replace(
        model,
        functions=(
            replace(
                model.main,
                stages=tuple(replace(stage, frames_per_step=1) for stage in model.main.stages),
            ),
        ),
    )
    by_three = data.x.reshape(len(data), -1, 3, *data.x.shape[2:])
    whole = run_float(model, data.x, data.lengths).outputs(model.main)
    for name, array in run_float(grouped, by_three, data.lengths // 3).outputs(model.main).items():
        np.testing.assert_array_equal(array, whole[name])


def test_tokens_beyond_the_embedding_are_refused() -> None:
    check_tokens("model", {"words": np.array([[0, 4]])}, {"words": 5})
    for wrong in (-1, 5):
        with pytest.raises(StepcellError, match=f"tokens of 'words' reach from .*{wrong}.* has 0 to 4"):
            check_tokens("model", {"words": np.array([[wrong, 2]])}, {"words": 5})


def test_delta_refuses_what_runs_over_whole_sequences() -> None:
    rng = np.random.default_rng(1)
    for structure, functions in (("bidirectional", "one"), ("step", "own_state")):
        model = random_structure(rng, structure=structure, inputs="one", functions=functions, frames=1)
        while any(value.dtype == "token" for f in model.functions for value in f.inputs):
            model = random_structure(rng, structure=structure, inputs="one", functions=functions, frames=1)
        with pytest.raises(StepcellError, match="--delta needs one function that is called step by step"):
            quantize(model, random_data(rng, model), delta=0)


def test_a_model_whose_stages_take_different_frames_is_a_bug() -> None:
    x = Value("x", (2, 3))
    stages = tuple(Stage(f"s{n}", (x,), (), (), (), frames_per_step=n) for n in (2, 1))
    with pytest.raises(ValueError, match="stage s1 takes 1 frames a step, not 2"):
        verify(Model("m", (Function("main", (x,), stages, None, ()),), (), {}))


def test_one_function_loads_as_before(tmp_path: Path) -> None:
    path = saved(tmp_path, x=X, y=[1, 0])
    first, second = load_sequences(path, ENCODER.inputs), load_sequences_for(path, (ENCODER,))
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(np.asarray(first.y), np.asarray(second.y))
