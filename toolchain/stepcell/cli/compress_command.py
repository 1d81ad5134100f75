"""`stepcell compress`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepcell.cli.console import errors, examples, existing, print_json, print_line, print_table
from stepcell.cli.source_options import import_arguments, source_options

if TYPE_CHECKING:
    from stepcell.recipes import Compressed
    from stepcell.report.compression import Line


@click.command(
    "compress",
    short_help="Prune, shrink, distill and quantize a model by a recipe.",
    epilog=examples(
        "stepcell compress kws.onnx --recipe recipe.toml --task task.py -o kws_small",
        "stepcell compress kws.onnx --recipe recipe.toml --task task.py -o kws_small --resume",
        "stepcell compile kws_small/model.npz --calibration kws_small/calibration.npz -o kws_c",
    ),
)
@click.argument("model")
@click.option(
    "--recipe",
    type=existing,
    required=True,
    metavar="FILE.toml",
    help="[[pass]] tables in order: see docs/compression.md.",
)
@click.option(
    "--task",
    type=existing,
    required=True,
    metavar="FILE.py",
    help="A function task() that returns a stepcell.compress.Task: data and metric.",
)
@click.option(
    "-o",
    "--output",
    type=existing,
    required=True,
    metavar="DIR",
    help="Folder for model.npz, calibration.npz, log.jsonl and the finished passes.",
)
@click.option(
    "--target", default="cortex-m4", show_default=True, help="What bytes and instructions are told of."
)
@click.option("--resume", is_flag=True, help="Go on from the passes that DIR has finished.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all that is random.")
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print the lines of the log.")
def command(
    model: str,
    recipe: Path,
    task: Path,
    output: Path,
    target: str,
    resume: bool,
    seed: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Run a recipe on MODEL, and show what each pass does to its accuracy and its cost on the target.

    Passes and choices read training and validation data; the test split is read once, at the end.
    """
    from stepcell.recipes import compress_file
    from stepcell.report.compression import compression_table

    found = compress_file(
        model,
        recipe,
        task,
        output,
        target,
        resume=resume,
        seed=seed,
        console=errors if errors.is_terminal else None,
        on_line=_show,
        **import_arguments(**options),
    )
    if as_json:
        print_json([line.to_json() for line in found.lines])
        return
    print_table(compression_table(found.lines, target))
    print_line(str(output), " holds model.npz, calibration.npz, log.jsonl and recipe.toml", "green")
    print_line("next: ", _next(found, output, target), "")


def _show(line: "Line") -> None:
    """A line on standard error as soon as its pass is through."""
    if errors.is_terminal:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in line.integers.items())
        errors.print(f"{line.what} ({line.split}): {numbers}", markup=False, highlight=False)


def _next(found: "Compressed", output: Path, target: str) -> str:
    """The command that makes C of it, with the integers that the recipe was judged with."""
    words = ["--calibration", str(output / "calibration.npz"), "--target", target]
    integers, usual = found.integers, type(found.integers)()
    if integers.weights != usual.weights:
        words += ["--weight-bits", integers.weights.removeprefix("int")]
    for option in ("activations", "calibrator", "percentile"):
        if getattr(integers, option) != getattr(usual, option):
            words += [f"--{option}", str(getattr(integers, option))]
    if integers.bias_correction:
        words += ["--bias-correction"]
    return shlex.join(["stepcell", "compile", str(output / "model.npz"), *words, "-o", str(output / "c")])
