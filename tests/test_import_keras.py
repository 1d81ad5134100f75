"""Keras files of both versions and both kinds: they compute what Keras computed when they were saved.

The files are made by scripts/make_keras_fixtures.py; nothing here needs TensorFlow.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edited_files import edited_keras
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.ir.model import recurrent_ops
from stepcell.ir.ops import Gru, Lstm
from stepcell.reference.float_model import run_float

h5py = pytest.importorskip("h5py")

FIXTURES = Path(__file__).parent / "fixtures" / "keras"
FILES = sorted(
    p.name for p in FIXTURES.iterdir() if p.suffix in (".keras", ".h5") and "masking" not in p.name
)


@pytest.mark.parametrize("name", FILES)
def test_a_file_computes_what_keras_recorded(name: str) -> None:
    stem, _, suffix = name.rpartition(".")
    with np.load(FIXTURES / f"{stem}_{suffix}.npz") as stored:
        x, y = stored["x"].astype(np.float64), stored["y"]
    model = import_model(FIXTURES / name)
    run = run_float(model, x, np.full(len(x), x.shape[1]))
    found = np.asarray(run.outputs(model.main)[model.main.outputs[0]])
    assert np.abs(found.reshape(y.shape) - y).max() <= 2e-6


def test_reset_after_is_the_gru_that_resets_the_product() -> None:
    kinds = {}
    for name in ("gru", "gru_reset_before"):
        (op,) = recurrent_ops(import_model(FIXTURES / f"{name}_k3.keras"))
        assert isinstance(op, Gru)
        kinds[name] = op.linear_before_reset
    assert kinds == {"gru": True, "gru_reset_before": False}


def test_hard_sigmoid_has_the_slope_of_the_version_that_saved_the_file() -> None:
    slopes = {}
    for name in (
        "lstm_options_k2.keras",
        "lstm_options_k2.h5",
        "lstm_options_k3.keras",
        "lstm_options_k3.h5",
    ):
        (op,) = recurrent_ops(import_model(FIXTURES / name))
        assert isinstance(op, Lstm)
        slopes[name] = op.gates[0].alpha
    assert [round(slope or 0, 6) for slope in slopes.values()] == [0.2, 0.2, 0.166667, 0.166667]


def test_source_says_that_nothing_ran_it() -> None:
    source = import_model(FIXTURES / "lstm_k3.keras").source
    assert source is not None
    assert "--expect" in source.judge
    assert source.kind == "keras"


def _layer(index: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        for key, value in changes.items():
            config["layers"][index]["config"][key] = value

    return edit


def _kind(index: int, name: str) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        config["layers"][index]["class_name"] = name

    return edit


def _reads_itself(config: dict[str, Any]) -> None:
    history = config["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
    history[0] = config["layers"][2]["config"]["name"]


REFUSED: dict[str, tuple[str, Callable[[dict[str, Any]], None], str]] = {
    "an unknown layer": (
        "lstm",
        _kind(1, "ConvLSTM1D"),
        r"\(ConvLSTM1D\) is an unsupported layer; allowed are",
    ),
    "a layer of the user": ("lstm", _kind(1, "Mine"), r"layer 'lstm\w*' \(Mine\) is an unsupported"),
    "states returned": ("lstm", _layer(1, return_state=True), "has return_state=True"),
    "an unknown activation": ("lstm", _layer(1, activation="mish"), "has the activation mish"),
    "other sizes": ("lstm", _layer(1, units=4), "which do not fit"),
    "masked tokens": ("embedding_gru", _layer(1, mask_zero=True), "masks the token 0"),
    "channels first": ("conv_lstm", _layer(1, data_format="channels_first"), "channels first"),
    "a circle": ("functional", _reads_itself, "in a circle"),
    "no layers": ("lstm", lambda c: c.pop("layers"), "malformed|not a sound"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_imported_is_refused_by_name(case: str, tmp_path: Path) -> None:
    name, edit, message = REFUSED[case]
    path = edited_keras(FIXTURES / f"{name}_k3.keras", tmp_path, edit)
    with pytest.raises(StepcellError, match=message):
        import_model(path)


def test_masking_is_refused() -> None:
    with pytest.raises(StepcellError, match=r"\(Masking\) masks frames"):
        import_model(FIXTURES / "masking_k3.keras")


def test_weights_outside_the_file_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["0"] = np.zeros((4, 20))
    stored = io.BytesIO()
    with zipfile.ZipFile(FIXTURES / "lstm_k3.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    stored.write(members["model.weights.h5"])
    with h5py.File(stored, "r+") as file:
        del file["layers/lstm/cell/vars/0"]
        file["layers/lstm/cell/vars/0"] = h5py.ExternalLink(str(secret), "/0")
    members["model.weights.h5"] = stored.getvalue()
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(StepcellError, match=r"it has no '0' of its own"):
        import_model(path)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lstm.h5"
    path.write_bytes((FIXTURES / "lstm_k2.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        group = file["model_weights"]
        name = group.attrs["layer_names"][0]
        weights = group[name][group[name].attrs["weight_names"][0]]
        weights[0, 0] = np.nan
    with pytest.raises(StepcellError, match="NaN or infinity"):
        import_model(path)


def test_a_file_without_the_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["layers"] = np.zeros(3)
    with pytest.raises(StepcellError, match="weights without the model"):
        import_model(path)
