"""`stepcell run`."""

from pathlib import Path

import click

from stepcell.cli.console import examples, existing, print_line, progress


@click.command(
    "run",
    short_help="Run a bundle over data, on the host or an emulated chip.",
    epilog=examples(
        "stepcell run kws_c --input test.npz -o answers.npz --on unicorn",
    ),
)
@click.argument("folder", type=existing, metavar="DIR")
@click.option(
    "--input",
    "data",
    type=existing,
    required=True,
    metavar="X.npz",
    help="x [N, T, ...] floats, optional lengths [N].",
)
@click.option(
    "-o", "--output", type=existing, required=True, metavar="Y.npz", help="Where to write the outputs."
)
@click.option(
    "--on",
    "backend",
    type=click.Choice(["host", "unicorn", "qemu", "qemu-user", "simavr"]),
    default="host",
    show_default=True,
    help="Where the C runs.",
)
def command(folder: Path, data: Path, output: Path, backend: str) -> None:
    """Run the C in DIR over sequences and write what it answers after every step.

    Y.npz holds `y` [N, T, O] as real numbers, `y_integer` as the C gives them, and `lengths` [N] in steps;
    of a model with several outputs both for each by its name; of several functions FUNCTION.NAME.
    """
    import numpy as np

    from stepcell.errors import StepcellError
    from stepcell.validate.answers import answers

    if output.is_dir() or not output.parent.is_dir():
        raise StepcellError(
            f"{output} cannot be written: it is a folder, or lies in none.", "name a file in a folder."
        )
    with progress(1) as begin:
        found = answers(folder, data, backend, begin)
    arrays: dict[str, np.ndarray] = {}
    for name, answer in found.items():
        function, dot, _ = name.rpartition(".")
        arrays |= {name: answer.real, f"{name}_integer": answer.stored}
        arrays[f"{function}{dot}lengths"] = answer.lengths
    with output.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    shapes = ", ".join(f"{name} {list(answer.real.shape)}" for name, answer in found.items())
    print_line(str(output), f": {shapes}", "green")
