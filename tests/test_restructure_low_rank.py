"""Matrices as two factors, from the float network to the C; what runs factors runs those of products, too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from random_bundles import M4, Case, compile_case, run_cases, run_selftests
from restructured import LAYERS, WITH_KERNELS, answers, drawn, with_products
from stepcell.build import build_host
from stepcell.compress import remove_layer, remove_units
from stepcell.compress.prune import prune
from stepcell.compress.restructure import kronecker, low_rank, matrix_bytes, share
from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.exporters.integer_onnx import export_integer
from stepcell.ir import Function, Model, Stage, verify
from stepcell.ir.factors import multiplied_out
from stepcell.ir.files import dump_model, dump_qmodel, load_model, load_qmodel
from stepcell.ir.model import FloatArray, recurrent_ops
from stepcell.ir.ops import Conv, Dense, Gru, Recurrent, Take, Value
from stepcell.ir.qmodel import q_matrices
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize, settle
from stepcell.quantize.delta import hold_inputs
from stepcell.reference.float_session import run_float_in_onnx_runtime
from stepcell.reference.integer_data import quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.run import run_host
from tools import require_tool


@pytest.mark.parametrize("layer", WITH_KERNELS)
def test_factors_compute_what_their_product_does(layer: str) -> None:
    model, data = drawn(layer)
    thin = low_rank(model, 3)
    assert all(op.recurrent_input is not None for op in recurrent_ops(thin))
    wanted = answers(with_products(model, thin), data)
    np.testing.assert_allclose(answers(thin, data), wanted, atol=1e-12, rtol=0)
    np.testing.assert_allclose(answers(multiplied_out(thin), data), wanted, atol=1e-12, rtol=0)
    assert matrix_bytes(thin) < matrix_bytes(model) / 1.5


def test_a_gru_that_resets_before_its_matrix_has_factors_for_its_candidate_apart() -> None:
    model, data = drawn("gru_before")
    thin = low_rank(model, 3)
    assert not recurrent_ops(thin)
    ops = [op for op in recurrent_ops(model) if isinstance(op, Gru)]
    whole = {}
    for op in ops:
        r = op.recurrent_weights
        parts = (thin.weights[f"{r}_{p}_B"] @ thin.weights[f"{r}_{p}_A"] for p in ("gates", "candidate"))
        whole[r] = np.concatenate(list(parts))
    inputs = {op.input_weights: op for op in ops if f"{op.input_weights}_A" in thin.weights}
    whole |= {w: thin.weights[f"{w}_B"] @ thin.weights[f"{w}_A"] for w in inputs}
    wanted = answers(model.with_weights(whole), data)
    np.testing.assert_allclose(answers(thin, data), wanted, atol=1e-12, rtol=0)


def test_a_matrix_of_that_rank_loses_nothing() -> None:
    model, data = drawn("lstm", depth=1)
    (op,) = recurrent_ops(model)
    rng = np.random.default_rng(1)
    exact = rng.normal(size=(64, 2)) @ rng.normal(size=(2, 16)) / 4
    model = model.with_weights({op.recurrent_weights: exact})
    for given in ({"rank": 2}, {"energy": 1 - 1e-9}):
        thin = low_rank(model, matrices=[op.recurrent_weights], **given)
        assert thin.weights[f"{op.recurrent_weights}_A"].shape == (2, 16)
        np.testing.assert_allclose(answers(thin, data), answers(model, data), atol=1e-9)


def test_the_budget_may_be_a_share_of_the_bytes_or_of_the_energy() -> None:
    model, _ = drawn("lstm", depth=1)
    (op,) = recurrent_ops(model)
    r = op.recurrent_weights
    half = low_rank(model, fraction=0.5, matrices=[r])
    size = half.weights[f"{r}_A"].size + half.weights[f"{r}_B"].size
    assert 0.4 * 64 * 16 < size <= 0.5 * 64 * 16
    kept = low_rank(model, energy=0.6, matrices=[r])
    s = np.linalg.svd(model.weights[r], compute_uv=False) ** 2
    rank = len(kept.weights[f"{r}_A"])
    assert s[:rank].sum() >= 0.6 * s.sum() > s[: rank - 1].sum()


def test_data_makes_the_sums_err_least_not_the_weights() -> None:
    """Against any other matrix of that rank: the plain decomposition, and nearby ones."""
    model, _ = drawn("gru_after", depth=1)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 10, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(40, 10, 6))
    (op,) = recurrent_ops(model)
    w, samples = model.weights[op.input_weights], x.reshape(-1, 6)

    def error(thin: Model) -> float:
        product = thin.weights[f"{op.input_weights}_B"] @ thin.weights[f"{op.input_weights}_A"]
        return float(np.sum((samples @ (product - w).T) ** 2))

    data = Sequences(x, np.full(40, 10))
    plain, aware = (low_rank(model, 2, data=d, matrices=[op.input_weights]) for d in (None, data))
    assert error(aware) < 0.2 * error(plain)
    a = aware.weights[f"{op.input_weights}_A"]
    for _ in range(20):
        near = aware.with_weights({f"{op.input_weights}_A": a + 1e-3 * rng.normal(size=a.shape)})
        assert error(near) > 0.999999 * error(aware)


@pytest.mark.parametrize("aware", [False, True])
def test_a_layer_and_the_next_can_share_a_projection(aware: bool) -> None:
    model, data = drawn("gru_after", units=16, depth=3)
    thin = low_rank(model, 4, data=data if aware else None, share_projections=True)
    first, second, third = recurrent_ops(model)
    pairs = ((first, second), (second, third))
    assert not any(f"{op.input_weights}_A" in thin.weights for op in (second, third))
    whole: dict[str, FloatArray] = {}
    for op, reader in pairs:
        a = thin.weights[f"{op.recurrent_weights}_A"]
        whole |= {n: thin.weights[f"{n}_B"] @ a for n in (op.recurrent_weights, reader.input_weights)}
    alone = (first.input_weights, third.recurrent_weights)
    whole |= {n: thin.weights[f"{n}_B"] @ thin.weights[f"{n}_A"] for n in alone}
    wanted = answers(model.with_weights(whole), data)
    np.testing.assert_allclose(answers(thin, data), wanted, atol=1e-12, rtol=0)
    plan = lower(quantize(thin, data), M4)
    projections = [table for table in plan.tables if "4 x 16 weights" in table.comment]
    assert len(projections) == 3
    assert sum(call.function == "sc_dense" for call in plan.calls) > 5


def with_windows() -> Model:
    """A convolution over 6 positions of 4 channels, and a Dense over what it gives at all of them."""
    rng = np.random.default_rng(3)
    x, y = Value("x", (6, 4)), Value("y", (10,))
    shapes = {"C": (12, 3, 4), "Cb": (12,), "D": (10, 72), "Db": (10,)}
    weights = {name: rng.normal(size=shape) / 4 for name, shape in shapes.items()}
    conv = Conv("x", Value("c", (6, 12)), "C", "Cb", (1,), (1,), ((1, 1),))
    flat = Take("c", Value("flat", (72,)), tuple(range(72)))
    stage = Stage("main", (x,), (conv, flat, Dense("flat", y, "D", "Db")), (), ("y",))
    function = Function("main", (x,), (stage,), None, ("y",))
    return verify(Model("windows", (function,), (), weights))


@pytest.mark.parametrize("aware", [False, True])
def test_dense_and_convolution_have_factors_too(aware: bool) -> None:
    model, rng = with_windows(), np.random.default_rng(4)
    data = Sequences(rng.normal(size=(4, 5, 6, 4)), np.full(4, 5))
    thin = low_rank(model, {"C": 4, "D": 3}, data=data if aware else None)
    c = thin.weights["C_B"] @ thin.weights["C_A"].reshape(4, -1)
    products = {"C": c.reshape(12, 3, 4), "D": thin.weights["D_B"] @ thin.weights["D_A"]}
    wanted = answers(model.with_weights(products), data)
    np.testing.assert_allclose(answers(thin, data), wanted, atol=1e-12, rtol=0)
    qmodel = quantize(thin, data)
    frames = quantize_sequences(qmodel, data)["main"].inputs["x"]
    found = run_integer(qmodel, frames).output * qmodel.main.outputs[0].value.scale
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.03 * wanted.std()


@pytest.mark.parametrize("layer", WITH_KERNELS)
def test_a_layer_in_factors_equals_its_float_export_in_onnx_runtime(layer: str) -> None:
    model, data = drawn(layer)
    thin = low_rank(model, 4, data=data)
    (found,) = run_float_in_onnx_runtime(thin, {"main": export_float(thin)}, data)["main"].values()
    assert np.abs(found - answers(thin, data)).max() < 1e-5


@pytest.fixture(scope="module")
def thin_cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Every layer in factors, and as Kronecker products; int8 and int16, of which the relu RNN reads one."""
    folder, rng, cases = tmp_path_factory.mktemp("bundles"), np.random.default_rng(5), []
    for layer in LAYERS:
        model, data = drawn(layer, units=12)
        passes = {"rank": low_rank(model, 3), "kronecker": kronecker(model, doping=0.1)}
        for name, changed in passes.items():
            for activations in ("int8", "int16-states") if name == "rank" else ("int8",):
                named = replace(changed, name=f"{layer}_{name}_{activations[3:5]}")
                qmodel = quantize(named, data, activations)
                cases.append(compile_case(folder, qmodel, rng))
    model, data = drawn("gru_after", units=12, depth=3)
    qmodel = quantize(replace(share(model), name="shared"), data)
    return [*cases, compile_case(folder, qmodel, rng)]


def test_the_c_equals_the_integer_reference(thin_cases: list[Case], tmp_path: Path) -> None:
    require_tool("cffi")
    library = build_host([case.bundle for case in thin_cases], tmp_path)
    assert run_cases(thin_cases, lambda jobs: run_host(library, jobs)) == {}
    assert run_selftests([case.bundle for case in thin_cases], lambda jobs: run_host(library, jobs)) == {}


def test_the_integer_onnx_equals_the_integer_reference(thin_cases: list[Case]) -> None:
    for case in thin_cases:
        outputs, states = run_integer_in_onnx_runtime(export_integer(case.qmodel), case.x)
        for name, found in (outputs | states).items():
            reference = case.reference.outputs.get(name, case.reference.states.get(name))
            assert reference is not None
            np.testing.assert_array_equal(found, reference)


def test_nothing_is_multiplied_out(thin_cases: list[Case]) -> None:
    """Rank 3 of matrices of 48 rows: 6 columns of the first input, 12 of h; the heads stay."""
    case = next(c for c in thin_cases if c.bundle.name == "lstm_rank_8")
    shapes = [matrix.weights.shape for op in case.qmodel.all_ops for matrix in q_matrices(op)]
    first, second = [(3, 6), (3, 12), (48, 3), (48, 3)], [(3, 12), (3, 12), (48, 3), (48, 3)]
    assert shapes == [*first, *second, (3, 12), (3, 3)]


@pytest.mark.parametrize("layer", WITH_KERNELS)
def test_integers_of_factors_are_as_close_as_those_of_the_product(layer: str) -> None:
    model, data = drawn(layer, units=24, depth=1)
    thin = low_rank(model, 6, data=data)
    whole = with_products(model, thin)
    wanted = answers(whole, data)
    errors = []
    for each in (thin, whole):
        qmodel = quantize(each, data)
        feed = quantize_sequences(qmodel, data)["main"]
        run = run_integer(qmodel, feed.inputs, feed.lengths)
        found = real_outputs(qmodel.main, run.outputs, feed.lengths)
        errors.append(float(np.sqrt(np.mean((next(iter(found.values())) - wanted) ** 2))))
    assert errors[0] < 3.0 * errors[1] + 1e-3


def test_factors_need_less_flash_and_fewer_instructions_on_an_m4() -> None:
    model, data = drawn("gru_after", units=64, depth=1)
    thin = low_rank(model, 8)
    bytes_, instructions = [], []
    for each in (model, thin):
        plan = lower(quantize(each, data), M4)
        bytes_.append(sum(table.bytes for table in plan.tables))
        (function,) = plan.functions
        assert function.estimate is not None
        instructions.append(function.estimate.instructions)
    assert bytes_[1] < 0.55 * bytes_[0]
    assert instructions[1] < 0.7 * instructions[0]


def test_models_with_factors_survive_files() -> None:
    model, data = drawn("lstm")
    thin = low_rank(model, 3)
    again = load_model(dump_model(thin), "m")
    np.testing.assert_array_equal(answers(again, data), answers(thin, data))
    qmodel = quantize(thin, data)
    assert dump_qmodel(load_qmodel(dump_qmodel(qmodel), "q")) == dump_qmodel(qmodel)


@pytest.mark.parametrize("layer", LAYERS)
def test_factors_are_trained_and_not_their_product(layer: str) -> None:
    torch = pytest.importorskip("torch")
    from stepcell.train import from_module, to_module

    model, data = drawn(layer, units=12)
    thin = low_rank(model, 3)
    x, lengths = torch.tensor(data.x, dtype=torch.float32), torch.tensor(data.lengths)
    fused, scan = to_module(thin), to_module(thin, "scan")
    layers = recurrent_ops(thin)
    names = tuple(op.recurrent_input for op in layers if op.recurrent_input is not None)
    for module in (fused, scan):
        found = module(x, lengths).detach().numpy()
        assert np.abs(found - answers(thin, data)).max() < 1e-5
    assert len(names) == (0 if layer == "gru_before" else 2)
    for one, other in zip(*(m.observe(x, lengths, names) for m in (fused, scan)), strict=True):
        valid = torch.arange(x.shape[1]) < lengths[:, None]
        assert (one - other)[valid].abs().max() < 1e-5
    optimizer = torch.optim.Adam(fused.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        loss = (fused(x, lengths) - 1.0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    trained = from_module(fused, thin)
    assert losses[-1] < 0.9 * losses[0]
    assert all(
        (trained.weights[n] != thin.weights[n]).any() for n in thin.weights if n.endswith(("_A", "_B"))
    )
    assert np.abs(answers(trained, data) - fused(x, lengths).detach().numpy()).max() < 1e-5


def test_only_layers_that_torch_can_run_whole_are_fused() -> None:
    pytest.importorskip("torch")
    from stepcell.train.fusable import is_fusable

    thin = low_rank(drawn("gru_after")[0], 3)
    (stage,) = thin.main.stages
    assert is_fusable(stage, thin.main)
    (factor, *_) = (op for op in stage.ops if isinstance(op, Dense) and op.y.name.endswith("h_factor"))
    seen = replace(stage, outputs=(factor.y.name,))
    assert not is_fusable(seen, thin.main)


def test_factors_can_be_pruned_and_stay_pruned() -> None:
    model, data = drawn("lstm", units=32, depth=1)
    thin = low_rank(model, 8)
    names = [name for name in thin.weights if name.endswith(("_A", "_B"))]
    for criterion in ("magnitude", "activity", "second-order"):
        pruned = prune(thin, 0.5, criterion, "4x1", data=data, matrices=names)
        kept = np.mean(np.concatenate([pruned.masks[name].keep.ravel() for name in names]))
        assert kept == pytest.approx(0.5, abs=0.01)
        plans = [lower(quantize(each, data), M4) for each in (thin, pruned)]
        sizes = [sum(table.bytes for table in plan.tables) for plan in plans]
        assert sizes[1] < sizes[0]


def test_units_leave_layers_in_factors() -> None:
    model, data = drawn("gru_after", units=16)
    thin = low_rank(model, 3)
    small = remove_units(thin, 0.25)
    for op in recurrent_ops(small):
        assert op.h_next.size == 12
        assert small.weights[op.recurrent_weights].shape == (36, 3)
    wanted, found = answers(small, data), answers(multiplied_out(small), data)
    np.testing.assert_allclose(found, wanted, atol=1e-12, rtol=0)


def test_a_layer_leaves_with_its_factor() -> None:
    model, data = drawn("lstm", units=16)
    recurrent = [op.recurrent_weights for op in recurrent_ops(model)]
    thin = low_rank(model, 3, matrices=recurrent)
    last = recurrent_ops(thin)[1].h_next.name
    left = remove_layer(thin, last)
    assert not any(name.startswith(recurrent[1]) for name in left.weights)
    wanted = answers(remove_layer(with_products(model, thin), last), data)
    np.testing.assert_allclose(answers(left, data), wanted, atol=1e-12, rtol=0)


def test_training_on_integers_computes_what_the_chip_does() -> None:
    torch = pytest.importorskip("torch")
    from stepcell.train.quantized import to_quantized_module

    model, data = drawn("lstm", units=12, depth=1)
    thin = low_rank(model, 3)
    module = to_quantized_module(thin, lambda changed: settle(changed, data))
    found = module(torch.tensor(data.x, dtype=torch.float32), torch.tensor(data.lengths))
    found.square().sum().backward()
    qmodel = module.quantized()
    feed = quantize_sequences(qmodel, data)["main"]
    run = run_integer(qmodel, feed.inputs, feed.lengths)
    (wanted,) = real_outputs(qmodel.main, run.outputs, feed.lengths).values()
    assert np.abs(found.detach().numpy() - wanted).max() < 1e-6
    factors = [name for name in thin.weights if name.endswith(("_A", "_B"))]
    gradients = [module.parameter(name).grad for name in factors]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "one of rank, energy and fraction"),
        ({"rank": 2, "energy": 0.5}, "one of rank, energy and fraction"),
        ({"rank": 0}, "a rank of 0 is none"),
        ({"energy": 1.5}, "energy is 1.5"),
        ({"fraction": 0.0}, "fraction is 0"),
        ({"rank": 2, "matrices": ["nothing"]}, "found no matrix 'nothing'"),
        ({"rank": 100}, "no matrix is smaller"),
    ],
)
def test_budgets_that_are_none_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StepcellError, match=complaint):
        low_rank(drawn("lstm", depth=1)[0], **options)


def test_pruned_matrices_and_factors_are_refused() -> None:
    model, data = drawn("lstm", depth=1)
    with pytest.raises(StepcellError, match="takes no matrix that is pruned"):
        low_rank(prune(model, 0.5), 2)
    thin = low_rank(model, 3)
    b = recurrent_ops(thin)[0].recurrent_weights
    with pytest.raises(StepcellError, match="is a factor already"):
        low_rank(thin, 1, matrices=[b])
    with pytest.raises(StepcellError, match="is in factors"):
        kronecker(thin, matrices=[b])
    with pytest.raises(StepcellError, match="its recurrent matrix is in factors"):
        hold_inputs(quantize(thin, data), 1)


def test_a_factor_of_anything_but_h_is_malformed() -> None:
    thin = low_rank(drawn("gru_after", depth=1)[0], 3)
    (stage,) = thin.main.stages
    wrong = tuple(replace(op, recurrent_input="x") if isinstance(op, Recurrent) else op for op in stage.ops)
    with pytest.raises(ValueError, match="malformed"):
        verify(replace(thin, functions=(replace(thin.main, stages=(replace(stage, ops=wrong),)),)))
