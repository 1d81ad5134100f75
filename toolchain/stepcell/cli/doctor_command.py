"""`stepcell doctor`."""

import importlib.metadata

import click

from stepcell.cli.console import examples, print_json, print_line

_MODULES = {
    "onnx": "stepcell", "onnxruntime": "stepcell", "torch": "stepcell[torch]", "unicorn": "stepcell[device]",
    "capstone": "stepcell[device]", "pyelftools": "stepcell[device]", "cffi": "stepcell[device]",
}  # fmt: skip


@click.command(
    "doctor",
    short_help="Show what is installed, what is missing, and how to install it.",
    epilog=examples(
        "stepcell doctor",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Check compilers, emulators and Python packages."""
    found = [*_tools(), *_modules()]
    if as_json:
        print_json(found)
        return
    for item in found:
        if item["version"]:
            print_line("ok       ", f"{item['name']} {item['version']}", "green")
        else:
            print_line("missing  ", f"{item['name']}: {item['install']}", "yellow")


def _tools() -> list[dict[str, str | None]]:
    from stepcell.build import installed_tools
    from stepcell.build.toolchains import install_command

    return [
        {"name": name, "version": tool.version if tool else None, "install": install_command(name)}
        for name, tool in installed_tools().items()
    ]


def _modules() -> list[dict[str, str | None]]:
    return [
        {"name": name, "version": _version(name), "install": f'pip install "{extra}"'}
        for name, extra in _MODULES.items()
    ]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
