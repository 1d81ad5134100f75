"""Help, versions, targets and the doctor: what the command line says about itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import call, call_json
from stepcell import __version__
from stepcell.build import toolchains
from stepcell.cli import COMMANDS
from stepcell.target import list_targets

HEAVY = ("torch", "onnx", "onnxruntime", "numpy", "jinja2", "unicorn", "capstone", "elftools", "cffi")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter with this one's path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_of_itself(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"\n    stepcell {command}" in result.stdout.split("Examples:")[1]


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("--version",)])
def test_help_and_version_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    program = f"""
import sys
from stepcell.cli import main
try:
    main({list(arguments)!r})
finally:
    print(sorted(set(sys.modules) & set({HEAVY!r})))
"""
    assert python("-c", program).stdout.splitlines()[-1] == "[]"


def test_help_lists_every_command_and_version_is_the_packages() -> None:
    listed = call("--help").stdout.split("Commands:")[1].split("Examples:")[0]
    assert [line.split()[0] for line in listed.splitlines() if line.strip()] == list(COMMANDS)
    assert call("--version").stdout.strip().endswith(__version__)


def test_python_m_stepcell_is_the_command_line() -> None:
    ended = python("-m", "stepcell", "nonsense")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "nonsense" in ended.stderr


def test_targets_lists_every_core() -> None:
    cores = [core.name for core in list_targets()]
    assert [target["name"] for target in call_json("targets")] == cores
    table = call("targets").stdout
    assert all(name in table for name in cores)


def test_doctor_names_what_installs_each_missing_tool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchains, "_zig_in_this_environment", lambda: None)
    toolchains.find_tool.cache_clear()
    try:
        text, found = call("doctor").stdout, call_json("doctor")
    finally:
        toolchains.find_tool.cache_clear()
    missing = {item["name"]: item["install"] for item in found if item["version"] is None}
    assert {"zig", "gcc", "clang", "arm-gcc", "qemu"} <= missing.keys()
    assert missing["qemu"] == "apt-get install qemu-system-arm"
    assert missing["zig"] == 'pip install "stepcell[device]"'
    lines = [line for line in text.splitlines() if line.startswith("missing")]
    assert lines == [f"missing  {name}: {install}" for name, install in missing.items()]


def test_doctor_shows_the_version_of_what_is_there() -> None:
    versions = {item["name"]: item["version"] for item in call_json("doctor")}
    assert versions["onnx"] is not None
    assert f"ok       onnx {versions['onnx']}" in call("doctor").stdout
