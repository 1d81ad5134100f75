"""The whole runtime as a library that Python calls; its header says how."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.build.flags import STRICT, command, host_flags
from stepcell.build.objects import Unit, compile_units, run_compiler
from stepcell.build.toolchains import device_module, find_tool
from stepcell.paths import runtime_dir


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

    def cursor(self, weights: NDArray[Any], columns: NDArray[Any] | None = None) -> Any:
        """A cursor at the start of tables; they must outlive it."""
        at = self.ffi.new("sc_cursor *")
        at.weights = self.argument(weights)
        at.columns = self.ffi.NULL if columns is None else self.argument(columns)
        return at


def _declarations() -> str:
    """What stands in the header between the two halves of its `extern "C"`."""
    text = (runtime_dir() / "include" / "stepcell.h").read_text()
    body = text.split('extern "C" {\n#endif\n')[1].split("#ifdef __cplusplus")[0]
    return re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL) + "\nextern const uint32_t sc_sigmoid_table[256];"
