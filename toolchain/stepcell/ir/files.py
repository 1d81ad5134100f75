"""Model and QModel as files, and a Source as JSON: so that a bundle can be validated long after it was made.

Dataclasses become objects with their class's name, arrays go into an .npz beside the JSON text.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir import ops
from stepcell.ir import qmodel as q
from stepcell.ir.model import (
    Block,
    Finish,
    Function,
    Mask,
    Model,
    Source,
    SourceTensor,
    Stage,
    State,
    StateTensor,
)
from stepcell.ir.qtflite import QFixed
from stepcell.ir.source_integers import DenseIntegers, LstmIntegers
from stepcell.ir.window import Window

_ORIGINAL = "original/"
"""Before the names of the functions whose source ONNX a compressed model keeps."""

_Kind = TypeVar("_Kind", Model, q.QModel)
_OPS = get_args(q.QOp)
_CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        *_OPS, q.QModel, q.QFunction, q.QStage, q.QOutput, q.QState, q.QValue, q.QMatrix, QFixed,
        Window, q.Requant, q.JointRequant, Block, Mask,
        *get_args(ops.Op), ops.Gate, ops.Quant, ops.Value, Model, Function, Stage, Finish, State,
        Source, SourceTensor, StateTensor, LstmIntegers, DenseIntegers,
    )
}  # fmt: skip


def dump_qmodel(model: q.QModel) -> bytes:
    """The model as an .npz file; the same bytes for the same model."""
    return _dump(model)


def load_qmodel(content: bytes, file: str) -> q.QModel:
    """The inverse of `dump_qmodel`; `file` names it in the StepcellError for content that is no model."""
    return _load(content, file, q.QModel, "integer")


def dump_model(model: Model) -> bytes:
    """The float model as an .npz file; the same bytes for the same model."""
    return _dump(model)


def load_model(content: bytes, file: str) -> Model:
    """The inverse of `dump_model`; `file` names it in the StepcellError for content that is no model."""
    return _load(content, file, Model, "float")


def dump_compressed(model: Model, originals: Mapping[str, bytes]) -> bytes:
    """A Model that is no longer its source, with the source's ONNX by function: what judges it later."""
    return _dump(model, {f"{_ORIGINAL}{name}": np.frombuffer(c, np.uint8) for name, c in originals.items()})


def load_compressed(content: bytes, file: str) -> tuple[Model, dict[str, bytes]]:
    """The inverse of `dump_compressed`; StepcellError for what is none, by the name `file`."""
    arrays: dict[str, np.ndarray] = {}
    model = _load(content, file, Model, "compressed", arrays)
    originals = {k.removeprefix(_ORIGINAL): a.tobytes() for k, a in arrays.items() if k.startswith(_ORIGINAL)}
    if model.source is None or not originals:
        raise StepcellError(
            f"{file}: it does not hold what the model was before it was compressed.",
            "use the model.npz that `stepcell compress` wrote.",
        )
    return model, originals


def _dump(model: Model | q.QModel, more: Mapping[str, np.ndarray] | None = None) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_encode(model, arrays), separators=(",", ":"))
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, model=np.array(text), **arrays, **(more or {}))
    return content.getvalue()


def _load(
    content: bytes, file: str, kind: type[_Kind], what: str, arrays: dict[str, np.ndarray] | None = None
) -> _Kind:
    """`arrays` is filled with what the file holds beside the text."""
    arrays = {} if arrays is None else arrays
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays |= {name: stored[name] for name in stored.files}
        model = _decode(json.loads(str(arrays.pop("model"))), arrays)
    except (ValueError, KeyError, OSError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StepcellError(f"{file} holds no {what} model: {error}.", "make it again.") from error
    if not isinstance(model, kind):
        raise StepcellError(f"{file} holds no {what} model, but a {type(model).__name__}.", "make it again.")
    return model


def source_to_json(source: Source) -> dict[str, Any]:
    """A Source as plain JSON values."""
    encoded: dict[str, Any] = _encode(source, {})
    return encoded


def source_from_json(data: Mapping[str, Any]) -> Source:
    """The inverse of `source_to_json`."""
    source = _decode(dict(data), {})
    assert isinstance(source, Source)
    return source


def _encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {f.name: _encode(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if isinstance(value, np.ndarray | np.generic):  # numpy makes numbers of arrays without axes
        name = f"a{len(arrays)}"
        arrays[name] = _narrowest(np.asarray(value))
        return {"array": name, "dtype": value.dtype.name}
    if isinstance(value, tuple):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, Mapping):
        return {"mapping": {key: _encode(item, arrays) for key, item in value.items()}}
    return value


def _narrowest(array: np.ndarray) -> np.ndarray:
    """Integers in the smallest type that holds them."""
    if array.dtype.kind != "i" or array.size == 0:
        return array
    kinds = (np.int8, np.int16, np.int32, np.int64)
    return array.astype(
        next(k for k in kinds if np.iinfo(k).min <= array.min() and array.max() <= np.iinfo(k).max)
    )


def _decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]].astype(value["dtype"])
    if "mapping" in value:
        return {key: _decode(item, arrays) for key, item in value["mapping"].items()}
    fields = {key: _decode(item, arrays) for key, item in value.items() if key != "class"}
    return _CLASSES[value["class"]](**fields)
