"""The runtime's functions of one step against the reference, over whole ranges and random numbers."""

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime_library import Runtime
from stepcell.ir.qfunctions import (
    QDiv,
    QEmbed,
    QHypot,
    QLeaky,
    QLinear,
    QLookup,
    QNormalize,
    QOctaves,
    QReduce,
    QRepeat,
    QSoftmax,
)
from stepcell.ir.qvalue import Bits, QValue
from stepcell.quantize.functions import normalize_numbers
from stepcell.reference import integer_functions as reference
from stepcell.reference.float_ops import softmax
from tools import require_tool

EVERY = np.arange(-32768, 32768).astype(np.int16)
WIDE = EVERY.astype(np.int64)
Y = QValue("y", (65536,), 16, 1.0)
SHIFTS = (0, 1, 7, 14, 22, 30)


@pytest.fixture(scope="module", params=["gcc", "clang"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool(request.param, "cffi")
    return Runtime(tmp_path_factory.mktemp(request.param), request.param)


def tables(entries: int) -> list[NDArray[np.int64]]:
    """A smooth one, a random one, and the steepest."""
    random = np.random.default_rng(entries).integers(-32768, 32768, entries)
    steepest = np.where(np.arange(entries) % 2, 32767, -32768)
    return [np.linspace(-32768, 32767, entries).astype(np.int64), random, steepest]


@pytest.mark.parametrize("shift", [6, 7, 8])
def test_a_lookup_equals_the_reference_for_every_int16(runtime: Runtime, shift: int) -> None:
    for table in tables((1 << (16 - shift)) + 1):
        y = np.zeros(65536, np.int16)
        runtime.sc_lookup(y, EVERY, 65536, table.astype(np.int16), shift)
        np.testing.assert_array_equal(y, reference.lookup(QLookup("x", Y, table, shift), WIDE))


@pytest.mark.parametrize("sign", ["none", "even", "odd"])
def test_octaves_equal_the_reference_for_every_int16(
    runtime: Runtime, sign: Literal["none", "even", "odd"]
) -> None:
    function = "sc_octaves" + ("" if sign == "none" else f"_{sign}")
    for table in tables(353):
        y = np.zeros(65536, np.int16)
        getattr(runtime, function)(y, EVERY, 65536, table.astype(np.int16))
        np.testing.assert_array_equal(y, reference.octaves(QOctaves("x", Y, table, sign), WIDE))


def test_octaves_pass_through_their_nodes() -> None:
    nodes = reference.octave_nodes()
    assert nodes[0] == 0
    assert nodes[-1] == 32768
    assert (np.diff(nodes) > 0).all()
    table = np.minimum(nodes, 32767)
    y = reference.octaves(QOctaves("x", Y, table, "none"), nodes[:-1])
    np.testing.assert_array_equal(y, nodes[:-1])


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("multiplier", [-16384, -1, 0, 5, 16384])
@pytest.mark.parametrize("offset", [1 - (1 << 30), 0, 12345, (1 << 30) - 1])
def test_a_line_equals_the_reference(runtime: Runtime, multiplier: int, offset: int, shift: int) -> None:
    for least, greatest in ((-32768, 32767), (0, 20000), (-5, -5)):
        y = np.zeros(65536, np.int16)
        runtime.sc_linear(y, EVERY, 65536, multiplier, offset, runtime.shift(shift), least, greatest)
        op = QLinear("x", Y, multiplier, offset, shift, least, greatest)
        np.testing.assert_array_equal(y, reference.linear(op, WIDE))


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("positive", "negative"), [(16384, 163), (16384, -16384), (0, 16384), (-7, 1)])
def test_a_leaky_line_equals_the_reference(
    runtime: Runtime, positive: int, negative: int, shift: int
) -> None:
    y = np.zeros(65536, np.int16)
    runtime.sc_leaky(y, EVERY, 65536, positive, negative, runtime.shift(shift))
    np.testing.assert_array_equal(y, reference.leaky(QLeaky("x", Y, positive, negative, shift), WIDE))


def test_magnitudes_equal_the_reference(runtime: Runtime) -> None:
    y = np.zeros(65536, np.int16)
    runtime.sc_abs(y, EVERY, 65536)
    np.testing.assert_array_equal(y, reference.absolute(WIDE))


def pairs() -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    rng = np.random.default_rng(0)
    corners = np.array([-32768, -32767, -181, -1, 0, 1, 2, 255, 16384, 32766, 32767])
    a, b = (grid.reshape(-1) for grid in np.meshgrid(corners, corners))
    more = rng.integers(-32768, 32768, (2, 20000)) >> rng.integers(0, 16, (2, 20000))
    return np.append(a, more[0]).astype(np.int16), np.append(b, more[1]).astype(np.int16)


def test_the_smaller_of_two_equals_the_reference(runtime: Runtime) -> None:
    a, b = pairs()
    y = np.zeros(len(a), np.int16)
    runtime.sc_min(y, a, b, len(a))
    np.testing.assert_array_equal(y, np.minimum(a, b))


@pytest.mark.parametrize("multiplier", [0, 1, 32768, 65535])
@pytest.mark.parametrize("shift", SHIFTS)
def test_a_quotient_equals_the_reference(runtime: Runtime, multiplier: int, shift: int) -> None:
    a, b = pairs()
    y = np.zeros(len(a), np.int16)
    runtime.sc_div(y, a, b, len(a), multiplier, runtime.shift(shift))
    op = QDiv("a", "b", Y, multiplier, shift)
    np.testing.assert_array_equal(y, reference.divide(op, a.astype(np.int64), b.astype(np.int64)))


@pytest.mark.parametrize(("multiplier", "shift"), [(16384, 14), (11585, 14), (1, 0), (16384, 30)])
def test_a_magnitude_of_two_equals_the_reference(runtime: Runtime, multiplier: int, shift: int) -> None:
    a, b = pairs()
    y = np.zeros(len(a), np.int16)
    runtime.sc_hypot(y, a, b, len(a), multiplier, runtime.shift(shift))
    op = QHypot("a", "b", Y, multiplier, shift)
    np.testing.assert_array_equal(y, reference.hypot(op, a.astype(np.int64), b.astype(np.int64)))


def test_a_root_is_the_nearest_integer() -> None:
    v = np.random.default_rng(0).integers(0, 1 << 32, 100000)
    squares = np.arange(65536, dtype=np.int64) ** 2
    v = np.concatenate([v, squares, squares[1:] - 1, squares + 1, squares + np.arange(65536)])
    v = v[v < 1 << 32]
    r = reference.root(v)
    assert (np.maximum(2 * r - 1, 0) ** 2 <= 4 * v).all()
    assert ((2 * r + 1) ** 2 > 4 * v).all()


def rows(n: int, seed: int = 0) -> NDArray[np.int16]:
    """Rows at the limits, constant ones, small ones, one large element among small ones, random ones."""
    rng = np.random.default_rng(seed)
    found = [np.full(n, v) for v in (-32768, 32767, 0, 1, -1)]
    found += [rng.choice([-32768, 32767], n) for _ in range(4)]
    found += [rng.integers(-(1 << b), 1 << b, n) for b in range(1, 16)]
    found += [np.where(np.arange(n) == rng.integers(n), s, 0) for s in (-32768, 32767, 1, -1)]
    return np.array(found).astype(np.int16)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1000])
def test_reductions_equal_the_reference(runtime: Runtime, n: int) -> None:
    x = rows(n)
    for kind in ("max", "min"):
        y = np.zeros(len(x), np.int16)
        getattr(runtime, f"sc_reduce_{kind}")(y, x, len(x), n)
        wanted = reference.reduce(QReduce("x", Y, kind), x.astype(np.int64))
        np.testing.assert_array_equal(y, wanted)
    for kind, before in (("sum", max(0, (n - 1).bit_length())), ("norm", max(0, (n - 1).bit_length()))):
        y = np.zeros(len(x), np.int16)
        shifts = runtime.shift(before), 11000, runtime.shift(14)
        getattr(runtime, f"sc_reduce_{kind}")(y, x, len(x), n, *shifts)
        op = QReduce("x", Y, kind, before, 11000, 14)  # type: ignore[arg-type,unused-ignore]
        np.testing.assert_array_equal(y, reference.reduce(op, x.astype(np.int64)))


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1000])
def test_the_index_of_the_largest_equals_the_reference(runtime: Runtime, n: int) -> None:
    x = rows(n)
    y = np.zeros(len(x), np.int16)
    runtime.sc_argmax(y, x, len(x), n)
    np.testing.assert_array_equal(y, reference.argmax(x.astype(np.int64)))


@pytest.mark.parametrize(("outer", "inner"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_repetition_equals_the_reference(runtime: Runtime, outer: int, inner: int) -> None:
    x = np.arange(10).astype(np.int16)
    y = np.zeros(10 * outer * inner, np.int16)
    runtime.sc_repeat(y, x, 10, outer, inner)
    op = QRepeat("x", QValue("y", (len(y),), 16, 1.0), outer, inner)
    np.testing.assert_array_equal(y, reference.repeat(op, x[None].astype(np.int64))[0])


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("largest", [0.1, 3.0, 20.0, 1000.0])
def test_softmax_equals_the_reference_and_is_close(runtime: Runtime, n: int, largest: float) -> None:
    x, scale = rows(n), largest / 32767
    factor = scale * np.log2(np.e) * 4096
    shift = min(30, int(np.floor(14 - np.log2(factor))))
    multiplier, fraction = round(factor * 2.0**shift), min(24, 31 - (n - 1).bit_length())
    y = np.zeros(x.shape, np.int16)
    runtime.sc_softmax(y, x, len(x), n, multiplier, runtime.shift(shift), fraction)
    op = QSoftmax("x", Y, multiplier, shift, fraction)
    np.testing.assert_array_equal(y, reference.softmax(op, x.astype(np.int64)))
    assert np.abs(y / 32768 - softmax(x.astype(np.float64) * scale)).max() < 6e-4


def layer(
    n: int, scale: float, epsilon: float, gain: NDArray[np.float64], bias: NDArray[np.float64], y_scale: float
) -> QNormalize:
    numbers = normalize_numbers("layer", n, scale, epsilon, gain, bias, y_scale)
    return QNormalize("x", QValue("y", (n,), 16, y_scale), *numbers)


@pytest.mark.parametrize("n", [2, 7, 64, 129, 1000])
@pytest.mark.parametrize("epsilon", [0.0, 1e-12, 1e-5, 1e-2, 10.0])
@pytest.mark.parametrize("scale", [1e-6, 1e-4, 1e-2])
def test_normalization_equals_the_reference_and_is_close(
    runtime: Runtime, n: int, epsilon: float, scale: float
) -> None:
    rng = np.random.default_rng(n)
    gain, bias = rng.normal(size=n), rng.normal(size=n) * 0.1
    x = rows(n)
    wide = x.astype(np.int64)
    centred = (n * wide - wide.sum(axis=-1, keepdims=True)) * (scale / n)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    exact = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0) * gain + bias
    y_scale = np.abs(exact).max() / 32767
    op = layer(n, scale, epsilon, gain, bias, y_scale)
    y = np.zeros(x.shape, np.int16)
    struct = runtime.ffi.new("sc_normalize_layer *")
    gains, biases = op.gain.astype(np.int16), op.bias.astype(np.int32)
    struct.gain, struct.bias = runtime.argument(gains), runtime.argument(biases)
    struct.square, struct.post = runtime.shift(op.square_shift), runtime.shift(op.shift)
    struct.n, struct.epsilon, struct.epsilon_exponent = n, op.epsilon, op.epsilon_exponent
    struct.least_shift = op.least_shift
    struct.result_shift = 15 + (op.square_shift + 1) // 2
    runtime.sc_normalize(struct, y, x, len(x))
    np.testing.assert_array_equal(y, reference.normalize(op, x.astype(np.int64)))
    bound = 2e-4 * np.sqrt(n) * np.abs(gain).max() + 2 * y_scale
    assert np.abs(y * y_scale - exact).max() < bound


@pytest.mark.parametrize("bits", [8, 16])
def test_embedding_equals_the_reference_for_every_token(runtime: Runtime, bits: Bits) -> None:
    limit = 1 << (bits - 1)
    table = np.random.default_rng(0).integers(-limit, limit, (30, 5))
    y = np.zeros((65536, 5), f"int{bits}")
    getattr(runtime, f"sc_embed_s{bits}")(y, EVERY, 65536, table.astype(f"int{bits}"), 30, 5)
    op = QEmbed("x", QValue("y", (5,), bits, 1.0), table)
    np.testing.assert_array_equal(y, reference.embed(op, WIDE))
