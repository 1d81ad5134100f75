"""What tests need from outside: compilers and emulators. A missing one skips, and fails with CI=true."""

import importlib.util
import os

import pytest

from stepcell.build import installed_tools


def require_tool(*names: str) -> None:
    """Skip the test where one of the tools (zig, gcc, clang, arm-gcc, qemu) or Python modules is missing."""
    tools = installed_tools()
    missing = [name for name in names if not _is_installed(name, name in tools, tools.get(name) is not None)]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _is_installed(name: str, is_tool: bool, is_found: bool) -> bool:
    return is_found if is_tool else importlib.util.find_spec(name) is not None
