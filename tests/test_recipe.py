"""Recipes: what a TOML file may say, what its passes do, and the example files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compression.tasks import BENCHMARKS
from make_small_model import small_data, small_model
from stepcell.compress import Task, parse_recipe, prune, read_recipe
from stepcell.compress.recipe import Prune, Quantize, Train, Units
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.ir import Model
from stepcell.ir.files import dump_model
from stepcell.ir.sequences import Sequences
from stepcell.recipes import run_recipe
from stepcell.validate.metrics import macro_precision

RECIPES = Path(__file__).parents[1] / "examples" / "compression" / "recipes"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A GRU of 5 units with a last-step head of 2 outputs."""
    (tmp_path / "small.onnx").write_bytes(small_model().SerializeToString())
    return import_onnx(tmp_path / "small.onnx")


def small_task() -> Task:
    """Whether the mean of the first feature is positive."""

    def part(count: int, seed: int) -> Sequences:
        x = small_data(count, 6, seed)
        return Sequences(x, np.full(count, 6, np.int64), (x[:, :, 0].mean(1) > 0).astype(np.int64))

    return Task("small", part(24, 1), part(12, 2), part(12, 3))


def test_a_recipe_is_its_passes_in_order() -> None:
    recipe = parse_recipe("""
[[pass]]
units = 16

[[pass]]
prune = "magnitude"
fraction = 0.75
pattern = "4x1"
schedule = "gradual"
epochs = 3

[[pass]]
train = 5

[[pass]]
quantize = {weights = "int4", calibrator = "mse"}
""")
    assert recipe.passes == (
        Units(16),
        Prune("magnitude", 0.75, "4x1", schedule="gradual", epochs=3),
        Train(5),
        Quantize("int4", calibrator="mse"),
    )


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_examples_can_be_read(file: Path) -> None:
    assert read_recipe(file).passes


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("prune = 0.8", ["this recipe", "'prune' stands outside of the passes"]),
        ("", ["this recipe", "no [[pass]] table"]),
        ("[[pass]", ["this recipe", "no TOML"]),
        (
            "[[pass]]\nprune = 'magnitude'\n[[pass]]\nfracton = 0.8",
            ["pass 2", "has to say one of prune, units"],
        ),
        ("[[pass]]\npurne = 'magnitude'", ["pass 1", "did you mean 'prune'?"]),
        ("[[pass]]\nprune = 'magnitude'\nfracton = 0.8", ["pass 1", "'fracton'", "did you mean 'fraction'?"]),
        ("[[pass]]\nprune = 'magnitude'\nunits = 4", ["pass 1", "prune and units", "one [[pass]] each"]),
        ("[[pass]]\nprune = 'magnitud'", ["pass 1", "'magnitud'", "did you mean magnitude?"]),
        ("[[pass]]\nprune = 'magnitude'\nfraction = 1.5", ["pass 1", "fraction is 1.5", "between 0 and 1"]),
        ("[[pass]]\nprune = 'magnitude'\nfraction = true", ["pass 1", "fraction is True"]),
        ("[[pass]]\nprune = 'magnitude'\npattern = '4y2'", ["pass 1", "pattern is '4y2'"]),
        ("[[pass]]\nprune = 'magnitude'\nepochs = 3", ["pass 1", "epochs belongs to training", "schedule"]),
        ("[[pass]]\nprune = 'magnitude'\nschedule = 'grad'", ["pass 1", "did you mean gradual?"]),
        ("[[pass]]\nprune = 'magnitude'\nmatrices = 'W'", ["pass 1", "a list of names"]),
        ("[[pass]]\nprune = 'magnitude'\ngates = {z = 2.0}", ["pass 1", "a table of kept fractions"]),
        ("[[pass]]\nunits = 0", ["pass 1", "units is 0", "a whole number from 1 on, or a fraction"]),
        ("[[pass]]\ntrain = 1.5", ["pass 1", "train is 1.5", "a whole number from 1 on"]),
        ("[[pass]]\nquantize = 'int4'", ["pass 1", "a table such as"]),
        ("[[pass]]\nquantize = {weight = 'int4'}", ["pass 1", "did you mean 'weights'?"]),
        ("[[pass]]\nquantize = {weights = 'int5'}", ["pass 1", "'int5'", "int8, int4, auto"]),
        ("[[pass]]\nquantize = {weights = 'auto', rounding = 'data'}", ["pass 1", "int8 or int4"]),
        ("[[pass]]\nquantize = {weights = 'int4'}\nepochs = 3", ["pass 1", "quantize knows no 'epochs'"]),
    ],
)
def test_a_mistake_names_the_pass_and_what_is_allowed(text: str, parts: list[str]) -> None:
    with pytest.raises(StepcellError) as refusal:
        parse_recipe(text, "this recipe")
    said = str(refusal.value)
    assert all(part in said for part in parts), said


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match=r"none\.toml: there is no such file"):
        read_recipe(tmp_path / "none.toml")


def test_running_a_recipe_is_calling_its_passes(model: Model) -> None:
    recipe = parse_recipe("[[pass]]\nprune = 'magnitude'\nfraction = 0.5\npattern = '4x1'")
    found = run_recipe(model, recipe, small_task())
    assert dump_model(found.model) == dump_model(prune(model, 0.5, "magnitude", "4x1"))


@pytest.mark.parametrize(
    ("step", "described"),
    [
        ("low_rank = 2\nmatrices = ['gru1_recurrent_weights']", "low rank 2"),
        ("low_rank = 0.3\nmatrices = ['gru1_recurrent_weights']", "low rank 0.3"),
        ("kronecker = 1\ndoping = 0.1", "kronecker 1 terms, 10% left"),
    ],
)
def test_restructured_models_are_judged_like_others(model: Model, step: str, described: str) -> None:
    (source, line, _) = run_recipe(model, parse_recipe(f"[[pass]]\n{step}"), small_task()).lines
    assert line.what == described
    assert line.label_agreement >= 0.5
    assert line.weight_bytes != source.weight_bytes


def test_every_pass_is_judged_on_validation_and_the_result_once_on_test(model: Model) -> None:
    recipe = parse_recipe(
        "[[pass]]\nprune = 'magnitude'\nfraction = 0.5\npattern = '4x1'\n"
        "[[pass]]\nquantize = {weights = 'int4'}"
    )
    lines = run_recipe(model, recipe, small_task()).lines
    assert [(line.number, line.split, line.bits) for line in lines] == [
        (0, "validation", "int8"),
        (1, "validation", "int8"),
        (2, "validation", "int4"),
        (2, "test", "int4"),
    ]
    assert lines[0].density == 1.0
    assert lines[1].density == pytest.approx(0.5, abs=0.05)
    assert lines[0].label_agreement > 0.9
    assert lines[2].weight_bytes < lines[1].weight_bytes
    assert lines[1].instructions_per_step is not None


def test_a_users_metric_judges_floats_and_integers(model: Model) -> None:
    task = small_task()
    seen = []

    def metric(outputs: np.ndarray, data: Sequences) -> dict[str, float]:
        seen.append((outputs.shape, len(data)))
        return {"mean": float(outputs.mean())}

    recipe = parse_recipe("[[pass]]\nquantize = {weights = 'int8'}")
    (line, *_) = run_recipe(model, recipe, Task("own", task.train, task.validation, metric=metric)).lines
    assert set(seen) == {((12, 2), 12)}
    assert line.integers["mean"] == pytest.approx(line.floats["mean"], abs=0.05)


def test_a_users_loss_is_what_training_lowers(model: Model) -> None:
    """A loss that wants the wrong class."""
    functional = pytest.importorskip("torch").nn.functional
    task = replace(small_task(), loss=lambda rows, y: functional.cross_entropy(rows, 1 - y))
    recipe = parse_recipe("[[pass]]\ntrain = 20\nlearning_rate = 0.05\ndistill = 0.0")
    assert run_recipe(model, recipe, task).lines[1].floats["accuracy"] <= 0.25
    for other in ("qat = 1", "distill = 1"):
        with pytest.raises(StepcellError, match="brings its own loss"):
            run_recipe(model, parse_recipe(f"[[pass]]\n{other}"), task)


def test_training_lowers_the_loss_of_a_task(model: Model) -> None:
    recipe = parse_recipe("[[pass]]\ntrain = 20\nlearning_rate = 0.05\ndistill = 0.0")
    lines = run_recipe(model, recipe, small_task()).lines
    assert lines[1].floats["accuracy"] >= 0.75
    assert lines[1].floats["accuracy"] > lines[0].floats["accuracy"]


def test_quantization_aware_training_is_what_is_then_compiled(model: Model) -> None:
    training = "learning_rate = 0.03\nbatch_size = 8\ndistill = 0.0"
    recipe = parse_recipe(f"[[pass]]\nqat = 12\nweights = 'int4'\n{training}")
    found = run_recipe(model, recipe, small_task())
    assert found.integers == Quantize("int4")
    assert [line.bits for line in found.lines] == ["int8", "int4", "int4"]
    assert found.lines[1].integers["accuracy"] > found.lines[0].integers["accuracy"]


def test_distillation_brings_a_smaller_model_back_to_its_source_without_labels(model: Model) -> None:
    task = small_task()
    plain = Task("plain", replace(task.train, y=None), replace(task.validation, y=None))
    recipe = parse_recipe("[[pass]]\nunits = 3\n[[pass]]\ndistill = 30\nlearning_rate = 0.02\nhidden = 0.1")
    lines = run_recipe(model, recipe, plain).lines
    assert lines[2].floats == {}
    assert lines[2].label_agreement >= max(lines[1].label_agreement, 0.75)


def test_a_pass_that_fails_says_which_it_was(model: Model) -> None:
    recipe = parse_recipe("[[pass]]\nunits = 4\n[[pass]]\nremove_layer = 'nothing'")
    with pytest.raises(StepcellError, match=r"^pass 2 \(remove nothing\): "):
        run_recipe(model, recipe, small_task())


def test_macro_precision_counts_every_class_once() -> None:
    found, wanted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 1])
    assert macro_precision(found, wanted) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_digits_are_read_row_by_row_and_the_test_split_never_moves() -> None:
    pytest.importorskip("sklearn")
    splits = [BENCHMARKS["digits-lstm64"].splits(seed) for seed in (0, 1)]
    assert [len(part) for part in splits[0]] == [1295, 143, 359]
    assert splits[0][0].x.shape[1:] == (8, 8)
    np.testing.assert_array_equal(splits[0][2].x, splits[1][2].x)
    assert not np.array_equal(splits[0][1].x, splits[1][1].x)
