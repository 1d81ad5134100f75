"""`stepcell compile`."""

import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import click

from stepcell.cli.console import Number, examples, existing, print_json, print_line, progress
from stepcell.cli.source_options import import_arguments, source_options

STAGES = 5
_WEIGHTS: dict[str, Literal["int8", "int4", "auto"]] = {"8": "int8", "4": "int4", "auto": "auto"}


@click.command(
    "compile",
    short_help="Compile a model to C.",
    epilog=examples(
        "stepcell compile kws.onnx -o kws_c --calibration train.npz",
        "stepcell compile kws.onnx -o kws_c --target cortex-m0plus --calibration train.npz --density 0.25",
        "stepcell compile net.py:build --weights net.pt --shape x=1,T,40 -o net_c --calibration train.npz",
    ),
)
@click.argument("model")
@click.option(
    "-o",
    "--output",
    type=existing,
    required=True,
    metavar="DIR",
    help="Folder for the C; replaced whole or not at all.",
)
@click.option(
    "--target", default="cortex-m4", show_default=True, help="A core or a board: see `stepcell targets`."
)
@click.option(
    "--calibration",
    type=existing,
    metavar="DATA.npz",
    help="Real inputs: x [N, T, ...], optional lengths [N]. Required.",
)
@click.option(
    "--density",
    type=Number(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Fraction of the recurrent layers' weights to keep, input matrices included; pruned once, by "
    "magnitude, without retraining, which costs accuracy: see the README for pruning with retraining.",
)
@click.option(
    "--block",
    metavar="RxC",
    help="What is pruned at once: rows x columns; 1x1 is unstructured. Default: what the target runs best.",
)
@click.option(
    "--activations",
    type=click.Choice(["auto", "int8", "int16", "int16-states"]),
    default="auto",
    show_default=True,
    help="What recurrent layers read: int8 inputs, or int16 inputs, or int16 inputs and states (otherwise "
    "states are int16, too, but read rounded to int8). auto takes int16 inputs, and int16 states for the "
    "most sensitive layers, where calibration shows an error above 2 % that they at least halve.",
)
@click.option(
    "--weight-bits",
    type=click.Choice(["8", "4", "auto"]),
    default="8",
    show_default=True,
    help="Of a recurrent layer's matrices. 4 take about half the flash and cost accuracy. auto: 4, but 8 for "
    "the matrices that calibration shows to need them.",
)
@click.option(
    "--rounding",
    type=click.Choice(["nearest", "data"]),
    default="nearest",
    show_default=True,
    help="Of weights to integers: each to the nearest, or so that the layers' sums over the calibration data "
    "stay right.",
)
@click.option(
    "--optimize",
    type=click.Choice(["size", "speed"]),
    default="size",
    show_default=True,
    help="size: no matrix takes more than a byte a weight. speed: the fastest kernel that the core has.",
)
@click.option(
    "--format",
    "form",
    metavar="NAME",
    help="Store recurrent layers' matrices so (dense, 4x2, ...), even where that is slower or bigger.",
)
@click.option(
    "--delta",
    type=click.IntRange(0, 127),
    metavar="THRESHOLD",
    help="Compute only columns whose int8 input, or int8 view of h, changed by more than this (0: the same "
    "numbers as without). Instructions then depend on the data: see profile --data. Costs RAM: 4 bytes for "
    "each row of each recurrent layer's matrices.",
)
@click.option(
    "--percentile",
    type=Number(50, 100),
    default=100.0,
    show_default=True,
    help="Of |value| in calibration, for the scales.",
)
@click.option(
    "--calibrator",
    type=click.Choice(["minmax", "percentile", "mse", "entropy"]),
    default="minmax",
    show_default=True,
    help="How much of |value| in calibration a scale covers: all of it; a percentile (99.99 unless "
    "--percentile says so); what leaves the least squared error; what keeps the most of its distribution.",
)
@click.option(
    "--bias-correction",
    is_flag=True,
    help="Let biases take in the mean error of their rows over the calibration data.",
)
@source_options
@click.option(
    "--max-steps",
    type=click.IntRange(1, 65535),
    metavar="STEPS",
    help="Longest sequence of a model that reads whole ones: bidirectional, in several stages, or with "
    "attention. Required for the first two; costs RAM for what one stage leaves to the next.",
)
@click.option("--dump-ir", type=existing, metavar="DIR", help="Write the model as text after each pass.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def command(
    model: str,
    output: Path,
    target: str,
    calibration: Path | None,
    density: float,
    block: str | None,
    activations: Literal["auto", "int8", "int16", "int16-states"],
    weight_bits: Literal["8", "4", "auto"],
    rounding: Literal["nearest", "data"],
    optimize: Literal["size", "speed"],
    form: str | None,
    delta: int | None,
    percentile: float,
    calibrator: Literal["minmax", "percentile", "mse", "entropy"],
    bias_correction: bool,
    max_steps: int | None,
    dump_ir: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compile MODEL (file.onnx or factory.py:function) to a folder of C99."""
    from stepcell.errors import StepcellError
    from stepcell.pipeline import Options, compile_file

    if calibration is None:
        raise StepcellError(
            f"{model}: no calibration data was given, and random numbers would give wrong scales.",
            "add --calibration data.npz with real inputs, x [N, T, ...].",
        )
    arguments = import_arguments(**options)
    line = "stepcell " + shlex.join(sys.argv[1:])
    chosen = Options(
        target=target,
        name=arguments.pop("name"),
        density=density,
        block=None if block is None else _block(block),
        activations=activations,
        percentile=percentile,
        calibrator=calibrator,
        bias_correction=bias_correction,
        weights=_WEIGHTS[weight_bits],
        rounding=rounding,
        optimize=optimize,
        format=form,
        delta=delta,
        max_steps=max_steps,
        dump_ir=dump_ir,
        command=line,
    )
    with progress(STAGES) as begin:
        folder = compile_file(model, calibration, output, chosen, begin, **arguments)
    _report(folder, as_json)


def _block(text: str) -> Any:
    from stepcell.errors import StepcellError
    from stepcell.ir import Block

    rows, _, cols = text.partition("x")
    if not (rows.isdigit() and cols.isdigit() and int(rows) and int(cols)):
        raise StepcellError(
            f"--block {text}: a block is rows x columns.", "write --block 4x2, or 1x1 for unstructured."
        )
    return Block(int(rows), int(cols))


def _emulators(target: str) -> tuple[str, ...]:
    from stepcell.run import emulators_of
    from stepcell.target import resolve_target

    _, board = resolve_target(target)
    return () if board is None else emulators_of(board)


def _report(folder: Path, as_json: bool) -> None:
    import json

    manifest = json.loads((folder / "manifest.json").read_text())
    if as_json:
        print_json(manifest)
        return
    name = manifest["name"]
    print_line(
        str(folder), f" holds {name}.h, {name}.c and {len(manifest['sources']) - 1} more C files", "green"
    )
    for what, why in manifest["choices"].items():
        print_line(f"  {what}: ", why, "")
    where = ",".join(["host", *_emulators(manifest["target"])[:1]])
    line = shlex.join(["stepcell", "validate", str(folder), "--data", "test.npz", "--on", where])
    print_line("next: ", line, "")
