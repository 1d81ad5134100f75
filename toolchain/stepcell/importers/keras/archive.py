"""A Keras file: its configuration as JSON and its weights by layer. `.keras` is a zip, `.h5` is HDF5.

Weights lie in HDF5 either way. Only data inside the file is read: links to other files, and data that HDF5
would fetch from elsewhere, are refused, and every size is checked before anything is read.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array

_LARGEST_FILE = 2**30
_LARGEST_CONFIG = 2**24
_LARGEST_TENSOR = 2**26
_MOST_MEMBERS = 2**16
_HINT = "save the model again with model.save()."
_ROOTS = ("layers", "_layer_checkpoint_dependencies")


@dataclass(frozen=True, eq=False)
class KerasFile:
    """`config` is the model's {"class_name", "config"}; `version` Keras's major one.

    `weights` reads a layer's arrays in Keras's own order: by the layer's name, and for a .keras file by the
    path below its group (`cell`, `forward_layer/cell`), which a .h5 file does not have.
    """

    file: str
    sha256: str
    version: int
    config: Mapping[str, Any]
    weights: Callable[[str, str], list[Array]]


def read_keras(path: Path) -> KerasFile:
    """Read a file's configuration, and open its weights.

    Raises StepcellError if it is missing, too large, or no Keras model.
    """
    if not path.is_file():
        raise StepcellError(f"{path}: there is no such file.", "check the path.")
    if path.stat().st_size > _LARGEST_FILE:
        raise StepcellError(
            f"{path.name}: it is larger than {_LARGEST_FILE >> 20} MiB.", "save a smaller model."
        )
    _h5py()
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        if path.suffix.lower() == ".keras":
            return _read_archive(content, path.name, digest)
        return _read_hdf5(content, path.name, digest)
    except StepcellError:
        raise
    except Exception as error:  # zipfile, json and h5py raise many types on damaged files
        raise _damaged(path.name, str(error)) from error


def _damaged(file: str, what: str) -> StepcellError:
    return StepcellError(f"{file}: it is not a sound Keras model: {what[:200]}.", _HINT)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise StepcellError(
            "Keras files need h5py, which is not installed.", "pip install 'stepcell[keras]'."
        ) from error
    return h5py


def _read_archive(content: bytes, file: str, digest: str) -> KerasFile:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        config = json.loads(_member(archive, "config.json", _LARGEST_CONFIG, file))
        facts = json.loads(_member(archive, "metadata.json", _LARGEST_CONFIG, file))
        stored = _member(archive, "model.weights.h5", _LARGEST_FILE, file)
    groups = _Groups(file, _h5py().File(io.BytesIO(stored), "r"), _names(config))
    version = _major(facts.get("keras_version"))
    return KerasFile(file, digest, version, _checked(config, file), _guarded(groups.read, file))


def _member(archive: zipfile.ZipFile, name: str, limit: int, file: str) -> bytes:
    if name not in archive.namelist():
        raise _damaged(file, f"it has no {name}")
    with archive.open(name) as member:
        found = member.read(limit + 1)
    if len(found) > limit:
        raise _damaged(file, f"its {name} is larger than {limit >> 20} MiB")
    return found


def _read_hdf5(content: bytes, file: str, digest: str) -> KerasFile:
    opened = _h5py().File(io.BytesIO(content), "r")
    text, version = (opened.attrs.get(key) for key in ("model_config", "keras_version"))
    if text is None:
        raise StepcellError(
            f"{file}: it holds weights without the model.", "save the whole model: model.save()."
        )
    config = json.loads(_text(text)[:_LARGEST_CONFIG])
    group = _group(opened, "model_weights", file)

    def read(layer: str, path: str) -> list[Array]:
        del path
        found = _group(group, layer, file)
        return [_array(found, name, file) for name in _weight_names(found)]

    return KerasFile(file, digest, _major(version), _checked(config, file), _guarded(read, file))


def _guarded(read: Callable[[str, str], list[Array]], file: str) -> Callable[[str, str], list[Array]]:
    """The reader, whose every failure is the user's error: HDF5 finds damage when it gets there."""

    def guarded(layer: str, path: str) -> list[Array]:
        try:
            return read(layer, path)
        except StepcellError:
            raise
        except Exception as error:  # h5py raises many types on damaged files
            raise _damaged(file, str(error)) from error

    return guarded


def _major(version: Any) -> int:
    """Keras's major version; 2 for a file so old that it does not say."""
    major = "2" if version is None else _text(version).split(".")[0]
    if major not in ("2", "3"):
        raise ValueError(f"Keras {major[:20]} is not known")
    return int(major)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _checked(config: Any, file: str) -> Mapping[str, Any]:
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise _damaged(file, "its configuration is no model's")
    return config


def _weight_names(group: Any) -> list[str]:
    """The attribute weight_names, which is cut into weight_names0, ... where it is long."""
    if "weight_names" in group.attrs:
        return [_text(name) for name in np.ravel(group.attrs["weight_names"])[:_MOST_MEMBERS]]
    names: list[str] = []
    while f"weight_names{len(names)}" in group.attrs and len(names) < _MOST_MEMBERS:
        names += [_text(name) for name in np.ravel(group.attrs[f"weight_names{len(names)}"])]
    return names


def _group(parent: Any, name: str, file: str) -> Any:
    found = _member_of(parent, name, file)
    if not hasattr(found, "keys"):
        raise _damaged(file, f"'{name}' is no group of weights")
    return found


def _member_of(parent: Any, name: str, file: str) -> Any:
    """A member, found link by link: none may lead out of the file."""
    found = parent
    for part in filter(None, name.split("/")):
        link = found.get(part, getlink=True) if hasattr(found, "keys") else None
        if type(link).__name__ != "HardLink":
            raise _damaged(file, f"it has no '{name}' of its own")
        found = found[part]
    return found


def _array(group: Any, name: str, file: str) -> Array:
    data = _member_of(group, name, file)
    kind = getattr(data, "dtype", None)
    if kind is None or kind.kind not in "fiu" or not hasattr(data, "shape"):
        raise _damaged(file, f"'{name}' is no array of numbers")
    if data.is_virtual or data.external is not None:
        raise _damaged(file, f"'{name}' lies in another file")
    if int(np.prod(data.shape, dtype=object)) > _LARGEST_TENSOR:
        raise _damaged(file, f"'{name}' has the shape {list(data.shape)}")
    found = np.asarray(data[()])
    if kind.kind == "f" and not np.isfinite(found).all():
        raise StepcellError(f"{file}: the weights '{name}' hold NaN or infinity.", "train the model again.")
    return found


def _names(config: Any) -> list[tuple[str, str]]:
    """(class, name) of the layers, in their order."""
    layers = config.get("config", {}).get("layers", []) if isinstance(config, dict) else []
    found = []
    for layer in layers:
        inner = layer.get("config", {})
        found.append((str(layer.get("class_name")), str(inner.get("name", layer.get("name", "")))))
    return found


class _Groups:
    """The groups of a model.weights.h5: by the name that newer files store, else by class and number."""

    def __init__(self, file: str, opened: Any, layers: list[tuple[str, str]]) -> None:
        self._file = file
        root = next((name for name in _ROOTS if name in opened), None)
        if root is None:
            raise _damaged(file, "its weights have no layers")
        self._root = _group(opened, root, file)
        self._keys = _keys_by_number(layers) | self._keys_by_name()

    def _keys_by_name(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for key in list(self._root.keys())[:_MOST_MEMBERS]:
            group = _group(self._root, key, self._file)
            name = _group(group, "vars", self._file).attrs.get("name") if "vars" in group else None
            if name is not None:
                found[_text(name)] = key
        return found

    def read(self, layer: str, path: str) -> list[Array]:
        """The variables of a layer, or of what lies at a path below it."""
        key = self._keys.get(layer)
        if key is None:
            raise _damaged(self._file, f"it has no weights of the layer '{layer}'")
        place = "/".join(filter(None, (key, path, "vars")))
        group = _group(self._root, place, self._file)
        return [_array(group, str(i), self._file) for i in range(len(group))]


def _keys_by_number(layers: list[tuple[str, str]]) -> dict[str, str]:
    """lstm, lstm_1, ...: classes in snake case, numbered in order."""
    count: dict[str, int] = {}
    found: dict[str, str] = {}
    for kind, name in layers:
        snake = _snake(kind)
        number = count.get(snake, 0)
        count[snake] = number + 1
        found[name] = snake if number == 0 else f"{snake}_{number}"
    return found


def _snake(name: str) -> str:
    """As Keras does it: LSTM -> lstm, SimpleRNN -> simple_rnn, Conv1D -> conv1d."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
