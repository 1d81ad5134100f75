"""Compile bundles of generated C for the host and for firmware, and measure what they take."""

from stepcell.build.bundle import Bundle, Call, Field, Function, Port, load_bundle
from stepcell.build.firmware import build_firmware
from stepcell.build.host import build_host
from stepcell.build.sizes import FlashUse, measure_flash
from stepcell.build.toolchains import Tool, find_tool, installed_tools

__all__ = [
    "Bundle",
    "Call",
    "Field",
    "FlashUse",
    "Function",
    "Port",
    "Tool",
    "build_firmware",
    "build_host",
    "find_tool",
    "installed_tools",
    "load_bundle",
    "measure_flash",
]
