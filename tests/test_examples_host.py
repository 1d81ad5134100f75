"""The README's C and the consumer in examples/host: what a user copies has to work as it stands."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from random_models import random_model, random_sequences
from stepcell.emit import emit
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_ops import quantize_input
from stepcell.target import load_core

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def vowels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, QModel, Sequences]:
    """A bundle called vowels with several scores, as the README's is."""
    rng = np.random.default_rng(2)
    model = random_model(rng, layers=("gru_after",), head="last", prelude="none", softmax=False, max_units=20)
    data = random_sequences(rng, model)
    qmodel = replace(quantize(model, data), name="vowels")
    assert qmodel.main.outputs[0].value.size > 1
    folder = emit(lower(qmodel, load_core("host")), tmp_path_factory.mktemp("bundle") / "vowels", {}, {})
    return folder, qmodel, data


@pytest.mark.needs("gcc")
def test_readme_c_example_compiles(vowels: tuple[Path, QModel, Sequences], tmp_path: Path) -> None:
    (example,) = re.findall(r"```c\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "example.c").write_text(example)
    includes = [f"-I{vowels[0]}", f"-I{vowels[0] / 'stepcell'}"]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, *includes, "-c", "example.c", "-o", "example.o"], cwd=tmp_path, check=True)


@pytest.mark.needs("cc", "make")
def test_host_example_answers_as_the_reference(
    vowels: tuple[Path, QModel, Sequences], tmp_path: Path
) -> None:
    folder, qmodel, data = vowels
    shutil.copytree(ROOT / "examples" / "host", tmp_path / "host")
    subprocess.run(["make", "-s", "-B", f"MODEL={folder}"], cwd=tmp_path / "host", check=True)
    lines = ["\n".join(" ".join(map(repr, frame.tolist())) for frame in x[:n]) for x, n in _pairs(data)]
    answered = subprocess.run(
        [tmp_path / "host" / "vowels"], input="\n\n".join(lines), capture_output=True, text=True, check=True
    )
    frames = quantize_input(data.x, qmodel.main.inputs[0].scale, qmodel.main.inputs[0].bits)
    outputs = run_integer(qmodel, frames, data.lengths).last_outputs()
    assert [int(line) for line in answered.stdout.split()] == outputs.argmax(axis=-1).tolist()


def _pairs(data: Sequences) -> list[tuple[np.ndarray, int]]:
    x = data.x.astype(np.float32).astype(np.float64).reshape(*data.x.shape[:2], -1)
    return list(zip(x, data.lengths.tolist(), strict=True))
