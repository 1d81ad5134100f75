"""Data files: what is read, and what each mistake says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepcell.errors import StepcellError
from stepcell.ir.ops import Value
from stepcell.ir.sequences import Sequences, load_sequences

X = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
INPUT = (Value("frames", (3,)),)


def _save(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def test_load_reads_x_lengths_and_y(tmp_path: Path) -> None:
    data = load_sequences(_save(tmp_path, x=X, lengths=[4, 2], y=[1, 0]), INPUT)
    assert data.y is not None
    assert (data.lengths.tolist(), data.y.tolist()) == ([4, 2], [1, 0])
    np.testing.assert_array_equal(data.x[0], X[0])
    np.testing.assert_array_equal(data.x[1, 2:], 0)


def test_load_takes_full_lengths_where_none_are_given(tmp_path: Path) -> None:
    assert load_sequences(_save(tmp_path, x=X)).lengths.tolist() == [4, 4]


def test_load_accepts_one_input_under_its_own_name(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load_sequences(_save(tmp_path, frames=X), INPUT).x, X)


def test_load_reads_several_inputs_by_name(tmp_path: Path) -> None:
    inputs = (Value("a", (3,)), Value("b", (), "token"))
    data = load_sequences(_save(tmp_path, a=X, b=np.ones((2, 4), np.int32)), inputs)
    assert list(data.feed(("a", "b"))) == ["a", "b"]
    assert data.more["b"].dtype == np.int32


def test_padding_may_hold_anything_and_becomes_zero(tmp_path: Path) -> None:
    x = X.copy()
    x[1, 2:] = np.nan
    data = load_sequences(_save(tmp_path, x=x, lengths=[4, 2], y=[[1, 1, 1, 1], [0, 0, -1, -1]]), INPUT)
    assert np.isfinite(data.x).all()
    assert data.y is not None
    assert data.y[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": [1]}, "no array 'x', only y"),
        ({"x": X[0, 0]}, r"'x' is float32 \[3\], not numbers \[N, T, \.\.\.\]"),
        ({"x": X.astype("U4")}, "not numbers"),
        ({"x": X[:0]}, "is empty"),
        ({"x": X[..., :2]}, r"'x' is \[2, 4, 2\], the model's input 'frames' is \[N, T, 3\]"),
        ({"x": X[0]}, r"'x' is \[4, 3\], the model's input 'frames' is \[N, T, 3\]"),
        ({"x": X, "lengths": [4, 5]}, "'lengths' holds 4 to 5, allowed are 1 to 4"),
        ({"x": X, "lengths": [4, 0]}, "'lengths' holds 0 to 4"),
        ({"x": X, "lengths": [4]}, r"'lengths' is int64 \[1\], not integers \[2\]"),
        ({"x": X, "lengths": [4.0, 2.0]}, "not integers"),
        ({"x": np.where(X == 5, np.nan, X)}, "'frames' holds 1 NaN or infinite"),
        ({"x": X, "y": [0, 1, 2]}, r"'y' is int64 \[3\] for 2 sequences"),
        ({"x": X, "y": [[0], [1]]}, r"'y' has the shape \[2, 1\], allowed are \[2\] and \[2, 4\]"),
        ({"x": X, "y": [0, -1]}, "negative classes"),
        ({"x": X, "y": [0.0, np.inf]}, "negative classes or NaN"),
        ({"x": np.array([None, None])}, "no readable"),
    ],
)
def test_a_mistake_is_named_with_a_hint(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(StepcellError, match=message) as caught:
        load_sequences(_save(tmp_path, **arrays), INPUT)
    assert caught.value.hint
    assert "data.npz" in caught.value.message


def test_tokens_must_be_integers(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="is integer tokens"):
        load_sequences(_save(tmp_path, x=np.zeros((2, 4))), (Value("words", (), "token"),))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="no such file"):
        load_sequences(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_npz_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(StepcellError, match="no readable"):
        load_sequences(path)


def test_a_single_array_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", X)
    with pytest.raises(StepcellError, match="no readable"):
        load_sequences(tmp_path / "data.npy")


def test_take_cuts_padding_off() -> None:
    data = Sequences(X, np.array([4, 2]), np.zeros((2, 4), np.int64)).take(np.array([1]))
    assert data.x.shape == (1, 2, 3)
    assert data.y is not None
    assert data.y.shape == (1, 2)


def test_split_holds_out_the_same_fraction_of_every_class() -> None:
    y = np.repeat([0, 1, 2], [10, 20, 30])
    data = Sequences(np.arange(60.0).reshape(60, 1, 1), np.ones(60, np.int64), y)
    rest, held_out = data.split(0.2, seed=3)
    assert np.bincount(held_out.y if held_out.y is not None else []).tolist() == [2, 4, 6]
    assert sorted([*rest.x.ravel(), *held_out.x.ravel()]) == list(range(60))
