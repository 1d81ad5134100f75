"""The float helpers of a bundle against the reference, bit for bit, and under the strict flags."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from random_bundles import Case, make_case
from stepcell.build.flags import STRICT
from stepcell.build.toolchains import device_module
from stepcell.reference.integer_ops import quantize_input
from tools import require_tool

Floats = NDArray[np.float32]


def build(case: Case, folder: Path, compiler: str) -> tuple[Any, Any]:
    """The helpers as a library: (cffi, library)."""
    name, source = case.bundle.name, case.bundle.folder
    library = folder / f"{compiler}.so"
    includes = (f"-I{source}", f"-I{source}/stepcell")
    command = [compiler, *STRICT, "-O2", "-fPIC", "-shared", *includes, str(source / f"{name}_float.c")]
    subprocess.run([*command, "-o", str(library)], check=True)
    ffi = device_module("cffi").FFI()
    ffi.cdef(f"void {name}_quantize_input(const float *, void *);")
    ffi.cdef(f"void {name}_dequantize_output(const void *, float *);")
    return ffi, ffi.dlopen(str(library))


def interesting(scale: float) -> Floats:
    """Ties and their neighbours, the limits, every magnitude, and what is no number."""
    steps = np.arange(-40000, 40001).astype(np.float64) / 2 * scale
    ties = steps.astype(np.float32)
    around = [ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))]
    magnitudes = (10.0 ** np.arange(-45, 39)).astype(np.float32)
    special = np.asarray([0.0, -0.0, np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, 2**31, -(2.0**31)])
    return np.concatenate([*around, magnitudes, -magnitudes, special.astype(np.float32)])


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("seed", [4000, 4001, 4002, 4003])  # int8 and int16 inputs
def test_quantize_input_equals_the_reference_for_every_kind_of_float(
    tmp_path: Path, seed: int, compiler: str
) -> None:
    require_tool(compiler, "cffi")
    case = make_case(tmp_path, seed, max_units=8)
    ffi, library = build(case, tmp_path, compiler)
    (port,) = case.bundle.inputs
    values = interesting(case.qmodel.main.inputs[0].scale)
    values = np.concatenate([values, np.zeros(-len(values) % port.count, np.float32)])
    found = np.zeros(len(values), port.dtype)
    call = getattr(library, f"{case.bundle.name}_quantize_input")
    for i in range(0, len(values), port.count):
        frame, q = values[i : i + port.count], found[i : i + port.count]
        call(ffi.from_buffer("float[]", frame), ffi.from_buffer(q))
    np.testing.assert_array_equal(
        found, quantize_input(values, case.qmodel.main.inputs[0].scale, case.qmodel.main.inputs[0].bits)
    )


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_dequantize_output_multiplies_by_the_scale(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "cffi")
    case = make_case(tmp_path, 4004, max_units=8)
    ffi, library = build(case, tmp_path, compiler)
    (port,) = case.bundle.outputs
    y = np.resize(np.asarray([-32768, 32767, 0, 1, -1, 12345], port.dtype), port.count)
    real = np.zeros(port.count, np.float32)
    getattr(library, f"{case.bundle.name}_dequantize_output")(
        ffi.from_buffer(y), ffi.from_buffer("float[]", real, require_writable=True)
    )
    scale = np.float32(case.qmodel.main.outputs[0].value.scale)
    np.testing.assert_array_equal(real, y.astype(np.float32) * scale)
