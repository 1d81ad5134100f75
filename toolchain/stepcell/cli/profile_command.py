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
        "stepcell profile kws_c --data test.npz",
    ),
)
@click.argument("folder", type=existing, metavar="DIR")
@click.option(
    "--data",
    type=existing,
    metavar="DATA.npz",
    help="Count every step of these sequences, too: x [N, T, ...], optional lengths [N]. Worth it for models "
    "compiled with --delta, whose instructions depend on the data.",
)
@click.option(
    "--on",
    "backend",
    type=click.Choice(["unicorn", "qemu", "qemu-user"]),
    help="The emulator that counts; all give the same. Default: the first of these that knows the target.",
)
@click.option(
    "--compiler",
    type=click.Choice(["arm-gcc", "riscv-gcc", "aarch64-gcc", "zig"]),
    help="Default: the target's GCC where it is installed, else zig.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    folder: Path, data: Path | None, backend: str | None, compiler: str | None, as_json: bool
) -> None:
    """Build DIR's firmware and count one step: exact instructions, modelled cycles, flash, RAM, stack."""
    from stepcell.report.profile import profile_bundle
    from stepcell.report.tables import distribution_table, profile_tables

    with progress(1 if data is None else 2) as begin:
        cost = profile_bundle(folder, backend, compiler, data, begin)
    if as_json:
        print_json(cost.to_json())
    else:
        for table in profile_tables(cost):
            console.print(table)
        if cost.distribution is not None:
            console.print(distribution_table(cost.distribution))
