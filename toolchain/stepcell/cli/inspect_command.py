"""`stepcell inspect`."""

import sys
from typing import Any

import click

from stepcell.cli.console import console, examples, print_json, print_line, progress
from stepcell.cli.source_options import import_arguments, source_options


@click.command(
    "inspect",
    short_help="Show a model's step function, sizes, and whether it is supported.",
    epilog=examples(
        "stepcell inspect kws.onnx",
        "stepcell inspect net.py:build --weights net.pt --shape x=1,T,40",
    ),
)
@click.argument("model")
@source_options
@click.option(
    "--max-steps",
    type=click.IntRange(1, 65535),
    metavar="STEPS",
    help="Longest sequence, where attention stores all its steps; by default the file's, or 256.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: str, max_steps: int | None, as_json: bool, **options: Any) -> None:
    """Import MODEL, check it against its source, and describe it.

    Exit code 2 if it cannot be imported or turned into C; every node that stands in the way is one line.
    """
    from stepcell.errors import StepcellError
    from stepcell.importers import import_model
    from stepcell.report.inspect import inspect

    try:
        with progress(1) as begin:
            begin("import")
            inspection = inspect(import_model(model, max_steps=max_steps, **import_arguments(**options)))
    except StepcellError as refusal:
        if not refusal.problems:
            raise
        _print_problems(refusal.problems, refusal.hint, as_json)
        sys.exit(2)
    _print(inspection.to_json(), as_json)
    if inspection.unsupported is not None:
        sys.exit(2)


def _print_problems(problems: tuple[str, ...], hint: str, as_json: bool) -> None:
    if as_json:
        print_json({"supported": False, "problems": list(problems)})
        return
    for problem in problems:
        print_line("not supported", f": {problem}", "red")
    print_line("Hint", f": {hint}", "yellow")


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    console.print(found["text"], highlight=False, markup=False, soft_wrap=True)
    counts = f"{found['macs_per_step']:,} MACs a step, {found['state_values']:,} state values"
    if found["macs_at_end"]:
        counts = f"{counts}, {found['macs_at_end']:,} MACs once at the end"
    print_line("", f"{found['parameters']:,} parameters, {counts}", "")
    if found["supported"]:
        print_line("supported", "", "green")
    else:
        print_line("not supported", f": {found['unsupported']}", "red")
