"""Damaged files: each one imports and passes its check, or is refused; nothing else happens."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from import_graphs import file, recurrent, weights
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx

BITS = 240
CUTS = 60


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small file that holds most of what exporters write."""
    node = helper.make_node
    constants = {
        **weights("LSTM", 3, 2),
        "shape": np.array([0, 0, -1]),
        "M": np.ones((2, 4), np.float32),
        "b": np.ones(4, np.float32),
        "h": np.array([1, 2, 2]),
        "one": np.array([1]),
        "minus": np.array(-1),
    }
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Slice", ["sizes", "one", "two"], ["batch"]),
        node("Concat", ["one", "batch", "two"], ["start"], axis=0),
        node("ConstantOfShape", ["start"], ["h0"]),
        recurrent("LSTM", extra=["", "h0", "h0"], hidden_size=2),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("Gather", ["s", "minus"], ["last"], axis=0),
        node("Gemm", ["last", "M", "b"], ["g"]),
        node("Softmax", ["g"], ["y"], axis=1),
    ]
    constants["two"] = np.array([2])
    return file(tmp_path_factory.mktemp("good"), nodes, constants, {"x": ["T", "B", 3]}).read_bytes()


def test_the_undamaged_file_imports(content: bytes, tmp_path: Path) -> None:
    assert imports(content, tmp_path)


def test_a_pad_to_more_than_a_step_can_hold_is_refused(tmp_path: Path) -> None:
    """Before it takes the memory."""
    node = helper.make_node
    layer = recurrent("LSTM", "padded", hidden_size=2)
    nodes = [node("Pad", ["x", "pads"], ["padded"]), layer, node("Squeeze", ["Y_h", "zero"], ["y"])]
    constants = {**weights("LSTM", 3, 2), "pads": np.array([0, 0, 0, 0, 0, 2**40]), "zero": np.array([0])}
    with pytest.raises(StepcellError, match="pads an axis to 1099511627779"):
        import_onnx(file(tmp_path, nodes, constants, {"x": ["T", "B", 3]}))


def test_files_with_one_flipped_bit(content: bytes, tmp_path: Path) -> None:
    """Half of the flips lie in the first bytes and in the last, where the structure is."""
    random = np.random.default_rng(0)
    outcomes = []
    for i in range(BITS):
        damaged = bytearray(content)
        limit = 700 if i % 2 else len(content)
        damaged[random.integers(limit)] ^= 1 << int(random.integers(8))
        outcomes.append(imports(bytes(damaged), tmp_path))
    assert 0 < sum(outcomes) < BITS


def test_files_that_were_cut(content: bytes, tmp_path: Path) -> None:
    lengths = np.linspace(0, len(content) - 1, CUTS, dtype=int)
    assert not any(imports(content[:length], tmp_path) for length in lengths)


def imports(content: bytes, folder: Path) -> bool:
    """Whether the file imports; anything but a StepcellError fails the test."""
    path = folder / "damaged.onnx"
    path.write_bytes(content)
    try:
        import_onnx(path)
    except StepcellError:
        return False
    return True
