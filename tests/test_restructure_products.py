"""Kronecker products and shared matrices; restructuring in recipes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from random_bundles import M4
from restructured import LAYERS, answers, drawn
from stepcell.compress import Task, parse_recipe
from stepcell.compress.passes import Setting, describe, run_pass
from stepcell.compress.recipe import Kronecker, LowRank, Share
from stepcell.compress.restructure import kronecker, low_rank, matrix_bytes, share, shared_errors
from stepcell.compress.restructure.kronecker import nearest_products
from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.graph import matrices
from stepcell.ir.model import Block, FloatArray, recurrent_ops
from stepcell.lower import lower
from stepcell.quantize import quantize

# Kronecker products


def test_a_kronecker_product_is_found_exactly() -> None:
    rng = np.random.default_rng(6)
    whole = sum(np.kron(rng.normal(size=(4, 2)), rng.normal(size=(6, 8))) for _ in range(2))
    found = nearest_products(np.asarray(whole), (4, 2), 2)
    np.testing.assert_allclose(found.whole, whole, atol=1e-12)
    one = nearest_products(np.asarray(whole), (4, 2), 1)
    for _ in range(50):
        near = replace(one, a=one.a + 1e-3 * rng.normal(size=one.a.shape))
        assert np.sum((near.whole - whole) ** 2) > np.sum((one.whole - whole) ** 2)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("terms", "doping"), [(1, 0.0), (2, 0.1)])
def test_products_and_what_is_left_compute_what_their_sum_does(layer: str, terms: int, doping: float) -> None:
    model, data = drawn(layer, units=12)
    made = kronecker(model, terms=terms, doping=doping)
    whole: dict[str, FloatArray] = {}
    for op in recurrent_ops(model):
        r = op.recurrent_weights
        parts = [r] if f"{r}_A" in made.weights else [f"{r}_gates", f"{r}_candidate"]
        whole[r] = np.concatenate([product_of(made, part, terms) for part in parts])
    wanted = answers(model.with_weights(whole), data)
    np.testing.assert_allclose(answers(made, data), wanted, atol=1e-12, rtol=0)
    assert matrix_bytes(made) < matrix_bytes(model)


def product_of(model: Model, name: str, terms: int) -> FloatArray:
    a, b = (model.weights[f"{name}_{part}"] for part in "AB")
    pairs = zip(np.split(a, terms, axis=1), np.split(b, terms, axis=0), strict=True)
    return np.asarray(sum(np.kron(*pair) for pair in pairs) + model.weights.get(f"{name}_S", 0.0))


def test_doping_keeps_the_blocks_that_the_product_misses_most() -> None:
    model, _ = drawn("rnn_tanh", units=16, depth=1)
    (r,) = (op.recurrent_weights for op in recurrent_ops(model))
    errors = []
    for doping in (0.0, 0.1, 0.3):
        made = kronecker(model, (4, 4), doping=doping)
        errors.append(float(np.sum((product_of(made, r, 1) - model.weights[r]) ** 2)))
        if doping:
            assert made.masks[f"{r}_S"].keep.mean() == pytest.approx(doping, abs=0.02)
            assert str(made.masks[f"{r}_S"].block) == "4x1"
    assert errors[0] > errors[1] > errors[2]


def test_products_need_less_flash() -> None:
    model, data = drawn("lstm", units=32, depth=1)
    plans = [lower(quantize(each, data), M4) for each in (model, kronecker(model, doping=0.05))]
    before, after = (sum(table.bytes for table in plan.tables) for plan in plans)
    assert after < 0.6 * before


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"shape": (3, 5)}, "is no product with A"),
        ({"terms": 0}, "0 terms"),
        ({"doping": 1.0}, "doping 1"),
        ({"terms": 16}, "hold 1"),
        ({"matrices": ["nothing"]}, "found no matrix"),
    ],
)
def test_products_that_are_none_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StepcellError, match=complaint):
        kronecker(drawn("lstm", units=16, depth=1)[0], **options)


# sharing


def test_layers_that_share_matrices_store_them_once() -> None:
    model, data = drawn("gru_after", units=16, depth=3)
    shared = share(model)
    used = {name for op in recurrent_ops(shared) for name in matrices(op)}
    assert len(used) == 3  # one recurrent matrix, the first layer's input matrix, one of both others
    assert matrix_bytes(model) - matrix_bytes(shared) == 3 * 48 * 16
    plans = [lower(quantize(each, data), M4) for each in (model, shared)]
    before, after = (sum(table.bytes for table in plan.tables) for plan in plans)
    assert before - after >= 3 * 48 * 16


@pytest.mark.parametrize("layer", ["lstm", "gru_before"])
def test_the_shared_matrix_leaves_the_least_error_over_data(layer: str) -> None:
    model, data = drawn(layer, units=8, depth=2)
    plain, aware = (shared_errors(model, share(model, data=d), data) for d in (None, data))
    assert plain.keys() == aware.keys() == {op.recurrent_weights for op in recurrent_ops(model)}
    assert sum(e**2 for e in aware.values()) < sum(e**2 for e in plain.values())


def test_equal_layers_share_without_error() -> None:
    model, data = drawn("lstm", units=8, depth=2)
    first, second = (op.recurrent_weights for op in recurrent_ops(model))
    model = model.with_weights({second: model.weights[first]})
    for given in (None, data):
        shared = share(model, data=given)
        np.testing.assert_allclose(answers(shared, data), answers(model, data), atol=1e-9)


def test_what_would_err_too_much_is_not_shared() -> None:
    model, data = drawn("lstm", units=8, depth=2)
    names = [op.recurrent_weights for op in recurrent_ops(model)]
    with pytest.raises(StepcellError, match="of the sums at least"):
        share(model, data=data, most=0.01)
    with pytest.raises(StepcellError, match="there is none"):
        share(model, most=0.01)
    with pytest.raises(StepcellError, match="cannot be one matrix"):
        share(model, [[names[0], recurrent_ops(model)[0].input_weights]])
    with pytest.raises(StepcellError, match="no matrices are left to share"):
        share(drawn("lstm", depth=1)[0])


def test_shared_matrices_learn_together() -> None:
    torch = pytest.importorskip("torch")
    from stepcell.train import from_module, to_module

    model, data = drawn("gru_after", units=8, depth=2)
    shared = share(model)
    module = to_module(shared)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    module(torch.tensor(data.x, dtype=torch.float32), torch.tensor(data.lengths)).sum().backward()
    optimizer.step()
    trained = from_module(module, shared)
    assert trained.weights.keys() == shared.weights.keys()
    (name,) = {op.recurrent_weights for op in recurrent_ops(trained)}
    assert (trained.weights[name] != shared.weights[name]).any()


# recipes


def test_recipes_restructure() -> None:
    model, data = drawn("gru_after", units=16, depth=2)
    recipe = parse_recipe("""
[[pass]]
low_rank = 4
share_projections = true

[[pass]]
low_rank = 0.5

[[pass]]
kronecker = 2
doping = 0.0

[[pass]]
share = 5.0
""")
    thin, half, product, one = recipe.passes
    assert (thin, half) == (LowRank(4, share_projections=True), LowRank(0.5))
    assert (product, one) == (Kronecker(2, doping=0.0), Share(5.0))
    setting = Setting(Task("any", data, data), data, model, Block(4, 1))
    wanted = (
        low_rank(model, 4, data=data, share_projections=True),
        low_rank(model, fraction=0.5, data=data),
        kronecker(model, terms=2, doping=0.0),
        share(model, data=data),
    )
    for step, expected in zip(recipe.passes, wanted, strict=True):
        np.testing.assert_array_equal(answers(run_pass(model, step, setting), data), answers(expected, data))
        assert describe(step)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("low_rank = 1.5", "low_rank is 1.5"),
        ("kronecker = 0.5", "kronecker is 0.5"),
        ("kronecker = 1\ndoping = 1.0", "doping is 1.0"),
        ("share = true", "share is True"),
        ("low_rank = 4\nfraction = 0.5", "low_rank knows no 'fraction'"),
    ],
)
def test_what_a_recipe_cannot_say_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(StepcellError, match=complaint):
        parse_recipe(f"[[pass]]\n{text}")
