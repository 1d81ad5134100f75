"""`stepcell profile`."""

from pathlib import Path

import click

from stepcell.cli.console import console, examples, existing, print_json, progress


@click.command(
    "profile",
    short_help="Count instructions, flash and RAM of a bundle on its target.",
    epilog=examples(
        "stepcell profile kws_c",
        "stepcell profile kws_c --on qemu --json",
    ),
)
@click.argument("folder", type=existing, metavar="DIR")
@click.option(
    "--on",
    "backend",
    type=click.Choice(["unicorn", "qemu"]),
    default="unicorn",
    show_default=True,
    help="The emulator that counts; both give the same.",
)
@click.option(
    "--compiler",
    type=click.Choice(["arm-gcc", "zig"]),
    help="Default: arm-gcc where it is installed, else zig.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: Path, backend: str, compiler: str | None, as_json: bool) -> None:
    """Build DIR's firmware and count one step: exact instructions, modelled cycles, flash, RAM, stack."""
    from stepcell.report.profile import profile_bundle
    from stepcell.report.tables import profile_table

    with progress(1) as begin:
        begin(f"build and count on {backend}")
        cost = profile_bundle(folder, backend, compiler)
    if as_json:
        print_json(cost.to_json())
    else:
        console.print(profile_table(cost))
