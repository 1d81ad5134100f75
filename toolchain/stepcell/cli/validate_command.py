"""`stepcell validate`."""

from pathlib import Path

import click

from stepcell.cli.console import Number, console, examples, existing, print_json, progress


@click.command(
    "validate",
    short_help="Prove that the C computes what the model computes.",
    epilog=examples(
        "stepcell validate kws_c --data test.npz",
        "stepcell validate kws_c --data test.npz --on host,unicorn,qemu --json",
    ),
)
@click.argument("folder", type=existing, metavar="DIR")
@click.option(
    "--data",
    type=existing,
    required=True,
    metavar="DATA.npz",
    help="x [N, T, ...], optional lengths [N] and labels y.",
)
@click.option(
    "--on",
    "backends",
    default="host",
    show_default=True,
    help="Where the C runs: host, unicorn, qemu, qemu-user, simavr, or several.",
)
@click.option(
    "--threshold", type=Number(), default=0.5, show_default=True, help="Decision of a model with one output."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: Path, data: Path, backends: str, threshold: float, as_json: bool) -> None:
    """Run the source, the compressed model, the integer model and the C in DIR over the same data.

    From the integer reference on, every state and output of every step must be equal; exit code 1 if not.
    """
    from stepcell.ir.sequences import load_sequences_for
    from stepcell.report.tables import validation_table
    from stepcell.validate import open_bundle, validate

    names = tuple(name.strip() for name in backends.split(",") if name.strip())
    sequences = load_sequences_for(data, open_bundle(folder).qmodel.functions)
    with progress(4 + len(names)) as begin:
        result = validate(folder, sequences, names, threshold, begin)
    if as_json:
        print_json(result.to_json())
    else:
        console.print(validation_table(result))
    if result.mismatches:
        raise SystemExit(1)
