"""Tensors made from nothing, sizes, and changes of type."""

from typing import Any

import numpy as np

from stepcell.importers.builder import Builder, Translator
from stepcell.importers.graph import Array

Args = list[Any]
Kwargs = dict[str, Any]
_INT64 = 7
"""ONNX's number of the type."""


def _dtype(kwargs: Kwargs) -> type:
    return np.int64 if "int" in str(kwargs.get("dtype")) else np.float32


def _of_shape(b: Builder, where: str, shape: Args, value: float, kwargs: Kwargs) -> str:
    if not any(isinstance(size, str) for size in shape):
        return b.constant(np.full(shape, value, _dtype(kwargs)))
    return b.one("ConstantOfShape", where, b.ints(*shape), value=np.full(1, value, _dtype(kwargs)))


def _filled(value: float, skip: int = 0) -> Translator:
    """zeros, ones; new_zeros and new_ones have a tensor before the shape."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        return _of_shape(b, where, args[skip], value, kwargs)

    return make


def _full(skip: int = 0) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        return _of_shape(b, where, args[skip], args[skip + 1], kwargs)

    return make


def _like(value: float | None) -> Translator:
    """zeros_like, ones_like; full_like, whose value is an argument."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        fill: Array = np.asarray([args[1] if value is None else value], _dtype(kwargs))
        return b.one("ConstantOfShape", where, b.one("Shape", where, args[0]), value=fill)

    return make


def _arange(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    start, end, step = [0, args[0], 1] if len(args) == 1 else [*args, 1][:3]
    if any(isinstance(value, str) for value in (start, end, step)):
        numbers = (v if isinstance(v, str) else b.constant(np.int64(v)) for v in (start, end, step))
        return b.one("Range", where, *numbers)
    whole = all(isinstance(value, int) for value in (start, end, step))
    whole &= "float" not in str(kwargs.get("dtype"))
    return b.constant(np.asarray(np.arange(start, end, step), np.int64 if whole else np.float32))


def _scalar(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del where
    return b.constant(np.asarray(args[0], _dtype(kwargs)))


def _cast(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    dtype = str(kwargs.get("dtype") or (args[1] if len(args) > 1 else None))
    if "int" in dtype or "bool" in dtype:
        whole = args[0] in b.integers
        return b.one("Identity", where, args[0]) if whole else b.one("Cast", where, args[0], to=_INT64)
    return b.one("Cast", where, args[0], to=1) if "float" in dtype else b.one("Identity", where, args[0])


def _size(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Gather", where, b.one("Shape", where, args[0]), b.constant(np.int64(args[1])), axis=0)


TRANSLATORS: dict[str, Translator] = {
    "aten.zeros.default": _filled(0.0),
    "aten.ones.default": _filled(1.0),
    "aten.full.default": _full(),
    "aten.new_zeros.default": _filled(0.0, 1),
    "aten.new_ones.default": _filled(1.0, 1),
    "aten.new_full.default": _full(1),
    "aten.empty.memory_format": _filled(0.0),
    "aten.new_empty.default": _filled(0.0, 1),
    "aten.zeros_like.default": _like(0.0),
    "aten.ones_like.default": _like(1.0),
    "aten.full_like.default": _like(None),
    "aten.empty_like.default": _like(0.0),
    "aten.arange.default": _arange,
    "aten.arange.start": _arange,
    "aten.arange.start_step": _arange,
    "aten.scalar_tensor.default": _scalar,
    "aten.to.dtype": _cast,
    "aten._to_copy.default": _cast,
    "aten.sym_size.int": _size,
}
