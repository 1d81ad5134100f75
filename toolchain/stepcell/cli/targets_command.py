"""`stepcell targets`."""

import click

from stepcell.cli.console import console, examples, print_json


@click.command(
    "targets",
    short_help="List what can be compiled for.",
    epilog=examples(
        "stepcell targets",
        "stepcell compile kws.onnx -o kws_c --target cortex-m0plus --calibration train.npz",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the cores and what is known of each."""
    from rich.table import Table

    from stepcell.target import list_targets

    cores = list_targets()
    if as_json:
        print_json([{"name": core.name, "description": core.description, "isa": core.isa} for core in cores])
        return
    table = Table()
    for column in ("target", "what it is", "cycle model", "cost table"):
        table.add_column(column)
    for core in cores:
        costs = f"of {core.costs_of}" if core.costs_of else "measured" if core.costs else "-"
        table.add_row(core.name, core.description, "yes" if core.cycles else "-", costs)
    console.print(table)
