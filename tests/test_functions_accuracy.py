"""How close the integer functions come to the real ones, over their whole range, in units of their result."""

import numpy as np
import pytest
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir import Function, Model, Stage, verify
from stepcell.ir.graph import writes
from stepcell.ir.operators import FunctionName, ReduceKind
from stepcell.ir.ops import (
    Activate,
    Binary,
    Constant,
    Normalize,
    Op,
    Reduce,
    Take,
    Value,
)
from stepcell.ir.qfunctions import QAbs, QHypot, QLeaky, QLinear, QLookup, QReduce
from stepcell.ir.qmodel import QActivate, QModel, QMul
from stepcell.ir.qvalue import QValue
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.quantize.tables import fit_table
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_model import run_integer


def of_ops(ops: tuple[Op, ...], size: int, weights: dict[str, NDArray[np.float64]] | None = None) -> Model:
    """x [size] -> ops -> the last one's value, at every step."""
    x = Value("x", (size,))
    output = writes(ops[-1])[0].name
    stage = Stage("main", (x,), ops, (), (output,))
    return verify(Model("net", (Function("main", (x,), (stage,), None, (output,)),), (), weights or {}))


def errors(model: Model, x: NDArray[np.float64]) -> tuple[QModel, NDArray[np.float64]]:
    """The integer model of calibration data x [T, size], and its error in units of the result."""
    data = Sequences(x[None], np.array([len(x)]))
    qmodel = quantize(model, data)
    value = qmodel.main.inputs[0]
    stored = np.clip(np.floor(x / value.scale + 0.5), -32767, 32767).astype(np.int64)
    exact = run_float(model, stored[None] * value.scale).outputs(model.main)[model.main.outputs[0]]
    scale = qmodel.main.outputs[0].value.scale
    limited = np.clip(exact / scale, -32768, 32767)  # rounding may lift an extreme beyond its range
    return qmodel, np.abs(run_integer(qmodel, stored[None]).output - limited)


SMOOTH: list[tuple[FunctionName, float | None, float | None]] = [
    ("leaky_relu", 0.2, None),
    ("elu", 1.0, None),
    ("selu", None, None),
    ("celu", 0.5, None),
    ("softplus", None, None),
    ("softsign", None, None),
    ("hard_sigmoid", 0.2, 0.5),
    ("hard_swish", None, None),
    ("scaled_tanh", 1.7, 0.6),
    ("affine", -2.0, 0.3),
    ("silu", None, None),
    ("gelu", None, None),
    ("gelu_tanh", None, None),
    ("erf", None, None),
    ("abs", None, None),
    ("neg", None, None),
    ("square", None, None),
    ("power", 3.0, None),
    ("clip", -0.4, 0.9),
    ("relu", None, None),
]


@pytest.mark.parametrize("largest", [0.5, 4.0, 16.0])
@pytest.mark.parametrize(("function", "alpha", "beta"), SMOOTH)
def test_a_function_errs_by_less_than_8_units(
    function: FunctionName, alpha: float | None, beta: float | None, largest: float
) -> None:
    model = of_ops((Activate("x", Value("y", (1,)), function, alpha, beta),), 1)
    _, error = errors(model, np.linspace(-largest, largest, 9999)[:, None])
    assert error.max() <= 8.0


@pytest.mark.parametrize("largest", [0.1, 1.0, 30.0])
@pytest.mark.parametrize(
    ("function", "alpha"),
    [("log", None), ("sqrt", None), ("reciprocal", None), ("power", 0.3), ("power", -0.5)],
)
def test_a_function_with_a_pole_errs_by_less_than_8_units(
    function: FunctionName, alpha: float | None, largest: float
) -> None:
    """Over three decades; what its argument's own rounding costs is not in it."""
    model = of_ops((Activate("x", Value("y", (1,)), function, alpha),), 1)
    _, error = errors(model, np.geomspace(largest / 1000, largest, 9999)[:, None])
    assert error.max() <= 8.0


def test_a_reciprocal_of_either_sign() -> None:
    x = np.geomspace(0.01, 3.0, 5000)
    model = of_ops((Activate("x", Value("y", (1,)), "reciprocal"),), 1)
    _, error = errors(model, np.concatenate([x, -x])[:, None])
    assert error.max() <= 8.0


@pytest.mark.parametrize(("lowest", "bound"), [(-2.0, 8.0), (-10.0, 16.0), (-20.0, 16.0)])
def test_an_exponential_errs_little_in_units_of_its_largest_value(lowest: float, bound: float) -> None:
    model = of_ops((Activate("x", Value("y", (1,)), "exp"),), 1)
    _, error = errors(model, np.linspace(lowest, 2.0, 9999)[:, None])
    assert error.max() <= bound


def test_a_thresholded_relu_jumps_within_one_integer_of_its_argument() -> None:
    model = of_ops((Activate("x", Value("y", (1,)), "thresholded_relu", 1.0),), 1)
    qmodel, error = errors(model, np.linspace(-2.0, 2.0, 9999)[:, None])
    assert kinds(qmodel) == [QLinear, QMul]
    assert error.max() <= 1.5


def test_a_table_of_a_function_that_jumps_is_refused() -> None:
    to = QValue("y", (1,), 16, 1 / 32767)
    with pytest.raises(StepcellError, match=r"y: no table comes closer to .* than [0-9.]+ % of its range"):
        fit_table("x", 2 / 32767, to, lambda v: np.where(v > 1.0, 1.0, 0.0), positive=False)


def kinds(qmodel: QModel) -> list[type]:
    return [type(op) for op in qmodel.all_ops]


@pytest.mark.parametrize(
    ("function", "kind"),
    [("relu", QActivate), ("leaky_relu", QLeaky), ("abs", QAbs), ("neg", QLinear), ("clip", QLinear)],
)
def test_a_piecewise_line_needs_no_table(function: FunctionName, kind: type) -> None:
    bounds = (-0.5, 0.5) if function == "clip" else (None, None)
    model = of_ops((Activate("x", Value("y", (1,)), function, *bounds),), 1)
    qmodel, error = errors(model, np.linspace(-1.0, 1.0, 9999)[:, None])
    assert kinds(qmodel) == [kind]
    assert error.max() <= 1.0


def test_what_depends_on_one_value_and_numbers_is_one_table() -> None:
    """x * sigmoid(1.702 x), as an exporter writes a swish with a parameter."""
    ops = (
        Constant(Value("c", ()), "c"),
        Binary("x", "c", Value("scaled", (1,)), "mul"),
        Activate("scaled", Value("gate", (1,)), "sigmoid"),
        Binary("x", "gate", Value("y", (1,)), "mul"),
    )
    qmodel, error = errors(of_ops(ops, 1, {"c": np.array(1.702)}), np.linspace(-6, 6, 9999)[:, None])
    assert kinds(qmodel) == [QLookup]
    assert error.max() <= 8.0


def test_lines_after_each_other_are_one_line() -> None:
    """The result is min(max(0.1 * (x - 0.5), -0.02), 0.05)."""
    ops: tuple[Op, ...] = (
        *(Constant(Value(name, ()), name) for name in ("half", "tenth", "low", "high")),
        Binary("x", "half", Value("moved", (1,)), "sub"),
        Binary("moved", "tenth", Value("small", (1,)), "mul"),
        Binary("low", "small", Value("above", (1,)), "max"),
        Binary("above", "high", Value("y", (1,)), "min"),
    )
    numbers = {"half": 0.5, "tenth": 0.1, "low": -0.02, "high": 0.05}
    model = of_ops(ops, 1, {name: np.array(number) for name, number in numbers.items()})
    qmodel, error = errors(model, np.linspace(-2, 2, 9999)[:, None])
    assert kinds(qmodel) == [QLinear]
    assert error.max() <= 1.0


def halves(n: int, *tail: Op) -> tuple[Op, ...]:
    """x [2n] -> re*re + im*im [n] as `total`, and what follows."""
    return (
        Take("x", Value("re", (n,)), tuple(range(n))),
        Take("x", Value("im", (n,)), tuple(range(n, 2 * n))),
        Activate("re", Value("re2", (n,)), "square"),
        Binary("im", "im", Value("im2", (n,)), "mul"),
        Binary("re2", "im2", Value("total", (n,)), "add"),
        *tail,
    )


def spectrum(n: int = 129, steps: int = 500) -> NDArray[np.float64]:
    """Bins whose levels span four decades, as those of speech do."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(steps, 2 * n)) * np.tile(10.0 ** rng.uniform(-4, 0, n), 2)


def test_the_magnitude_of_a_spectrum_is_one_operation_within_one_unit() -> None:
    """Its bins keep what their int16 parts hold: an error of a unit, whatever their level."""
    model = of_ops(halves(129, Activate("total", Value("y", (129,)), "sqrt")), 258)
    qmodel, error = errors(model, spectrum())
    assert kinds(qmodel)[-1] is QHypot
    assert QLookup not in kinds(qmodel)
    assert error.max() <= 1.2


def test_a_power_spectrum_and_its_logarithm_keep_the_small_bins() -> None:
    """log(re^2 + im^2 + epsilon) of the root: int16 squares would lose bins below 1/181 of the largest."""
    ops = halves(
        129,
        Constant(Value("epsilon", ()), "epsilon"),
        Binary("total", "epsilon", Value("safe", (129,)), "add"),
        Activate("safe", Value("y", (129,)), "log"),
    )
    x = spectrum()
    model = of_ops(ops, 258, {"epsilon": np.array(1e-8)})
    qmodel, error = errors(model, x)
    loud = np.abs(x).max() / 32767 * 100
    root = np.hypot(x[:, :129], x[:, 129:])
    assert (error[0] * qmodel.main.outputs[0].value.scale)[root > loud].max() < 0.02


@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_a_norm_of_rows(kind: ReduceKind) -> None:
    ops = (
        Take("x", Value("rows", (3, 40)), tuple(range(120))),
        Activate("rows", Value("squares", (3, 40)), "square"),
        Reduce("squares", Value("total", (3,)), kind),
        Activate("total", Value("y", (3,)), "sqrt"),
    )
    qmodel, error = errors(of_ops(ops, 120), np.random.default_rng(0).normal(size=(300, 120)))
    assert kinds(qmodel)[-1] is QReduce
    assert error.max() <= 3.0


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min"])
def test_a_reduction_of_rows(kind: ReduceKind) -> None:
    ops = (
        Take("x", Value("rows", (3, 40)), tuple(range(120))),
        Reduce("rows", Value("y", (3,)), kind),
    )
    _, error = errors(of_ops(ops, 120), np.random.default_rng(0).normal(size=(300, 120)))
    assert error.max() <= 1.5


@pytest.mark.parametrize("level", [1e-3, 1.0])
@pytest.mark.parametrize("n", [16, 256])
def test_a_normalization_errs_by_less_than_a_thousandth(level: float, n: int) -> None:
    """Rows of very different sizes under one scale; those of a few units carry their own rounding."""
    rng = np.random.default_rng(n)
    weights = {"gain": rng.uniform(0.5, 1.5, n), "bias": rng.normal(size=n)}
    op = Normalize("x", Value("y", (n,)), "gain", "bias", 1e-5)
    x = (
        rng.normal(size=(300, n)) * level * 10 ** rng.uniform(-2, 0, (300, 1))
        + rng.normal(size=(300, 1)) * level
    )
    qmodel, error = errors(of_ops((op,), n, weights), x)
    assert error.max() * qmodel.main.outputs[0].value.scale < 1e-3 * np.sqrt(n / 16)


@pytest.mark.parametrize("largest", [1.0, 10.0, 100.0])
def test_a_softmax_errs_by_less_than_20_units(largest: float) -> None:
    soft = Activate("x", Value("soft", (50,)), "softmax")
    x = np.random.default_rng(0).uniform(-largest, largest, (300, 50))
    _, error = errors(of_ops((soft, Take("soft", Value("y", (50,)), tuple(range(50)))), 50), x)
    assert error.max() <= 20.0


@pytest.mark.parametrize(("n", "units"), [(2, 6.0), (50, 8.0), (1000, 48.0)])
@pytest.mark.parametrize("largest", [0.1, 1.0, 10.0, 100.0])
def test_a_log_softmax_errs_by_few_units_and_more_where_n_are_equally_likely(
    largest: float, n: int, units: float
) -> None:
    """The largest probability, down to 1 / n, is one of 2^15 numbers."""
    soft = Activate("x", Value("soft", (n,)), "log_softmax")
    x = np.random.default_rng(0).uniform(-largest, largest, (300, n))
    _, error = errors(of_ops((soft, Take("soft", Value("y", (n,)), tuple(range(n)))), n), x)
    assert error.max() <= units


def test_a_quotient_errs_by_less_than_2_units() -> None:
    ops = (
        Take("x", Value("a", (20,)), tuple(range(20))),
        Take("x", Value("b", (20,)), tuple(range(20, 40))),
        Binary("a", "b", Value("y", (20,)), "div"),
    )
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(500, 20)), rng.uniform(0.1, 3, (500, 20))], axis=1)
    _, error = errors(of_ops(ops, 40), x)
    assert error.max() <= 2.0
