"""The whole runtime as a library that Python calls; its header says how."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from stepcell.build.flags import STRICT, command, host_flags
from stepcell.build.objects import Unit, compile_units, run_compiler
from stepcell.build.toolchains import device_module, find_tool
from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels import Kernel, Packed
from stepcell.paths import runtime_dir

_PASS = re.compile(r"^#define SC_PASS \d+$", re.MULTILINE)


class Runtime:
    """`runtime.sc_relu(y, x, n)`: arrays are passed as pointers, numbers as they are, shifts as sc_shift."""

    def __init__(self, folder: Path, compiler: str) -> None:
        tool = find_tool(compiler)
        sources = sorted((runtime_dir() / "src").glob("*.c"))
        include = str(runtime_dir() / "include")
        units = [Unit(path.parent, path.name, (".", include), f"{path.stem}.o") for path in sources]
        flags = (*STRICT, *host_flags(tool, sanitize=False))
        objects = compile_units(tool, command(tool), flags, units, folder)
        run_compiler([*command(tool), "-shared", *map(str, objects), "-o", "runtime.so"], folder)
        self.ffi: Any = device_module("cffi").FFI()
        self.ffi.cdef(_declarations())
        self.library: Any = self.ffi.dlopen(str(folder / "runtime.so"))

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.library, name)
        return lambda *arguments: function(*map(self.argument, arguments))

    def argument(self, value: Any) -> Any:
        """A pointer to an array; anything else as it is."""
        if not isinstance(value, np.ndarray):
            return value
        assert value.flags.c_contiguous
        kind = f"{value.dtype.name}_t"
        return self.ffi.cast(f"{kind} *", value.ctypes.data)

    def shift(self, shift: int) -> Any:
        """A rounding shift."""
        return self.ffi.new("sc_shift *", {"half": (1 << shift) >> 1, "shift": shift})[0]

    def cursor(self, packed: Packed, cols: int) -> Any:
        """A cursor at the start of a matrix's tables, which must outlive it."""
        at = self.ffi.new("sc_cursor *")
        at.weights = self.argument(packed.words)
        at.columns = self.ffi.NULL if packed.columns is None else self.argument(packed.columns)
        at.start = self.argument(packed.start)
        at.cols, at.stride = cols, packed.stride
        return at

    def multiply(self, kernel: Kernel, weights: IntArray, starts: IntArray, x: IntArray) -> IntArray:
        """starts + weights @ x by a kernel, padded as it asks."""
        rows = -(-len(weights) // kernel.rows) * kernel.rows
        cols = -(-weights.shape[1] // kernel.multiple) * kernel.multiple
        padded = np.pad(weights, ((0, rows - len(weights)), (0, 0)))
        packed = kernel.pack(padded, np.pad(starts, (0, rows - len(starts)), mode="edge"))
        vector = np.pad(x, (0, cols - len(x))).astype(kernel.vector.removesuffix("_t"))
        acc = np.zeros(rows, np.int32)
        getattr(self, kernel.name)(self.cursor(packed, cols), vector, acc, rows)
        return acc[: len(weights)].astype(np.int64)


def _declarations() -> str:
    """What stands in the header between the two halves of its `extern "C"`, and what layers share."""
    text = (runtime_dir() / "include" / "stepcell.h").read_text()
    body = text.split('extern "C" {\n#endif\n')[1].split("#ifdef __cplusplus")[0]
    source = runtime_dir() / "src"
    shared = (source / "sc_rows.h").read_text().split('#include "sc_isa.h"\n')[1]
    body += shared.split("static inline")[0] + "\n".join(_PASS.findall((source / "sc_isa.h").read_text()))
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    for name, value in re.findall(r"^#define (SC_\w+) (\d+)u?$", body, re.MULTILINE):
        body = re.sub(rf"(?<!#define )\b{name}\b", value, body)
    return (
        re.sub(r"^#define.*$", "", body, flags=re.MULTILINE)
        + "\nextern const uint32_t sc_sigmoid_table[256];"
    )
