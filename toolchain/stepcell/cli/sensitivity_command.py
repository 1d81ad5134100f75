"""`stepcell sensitivity`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepcell.cli.console import examples, existing, print_json, print_table, progress
from stepcell.cli.source_options import import_arguments, source_options

if TYPE_CHECKING:
    from stepcell.compress.task import Task
    from stepcell.ir import Model


@click.command(
    "sensitivity",
    short_help="Prune or round one matrix at a time.",
    epilog=examples(
        "stepcell sensitivity kws.onnx --data train.npz",
        "stepcell sensitivity kws.onnx --task task.py --fractions 0.5,0.9 --weight-bits 4",
        "stepcell sensitivity kws.onnx --task task.py --criterion second-order --pattern 4x1 --json",
    ),
)
@click.argument("model")
@click.option(
    "--task",
    type=existing,
    metavar="FILE.py",
    help="A function task() that returns a stepcell.compress.Task; its validation split judges.",
)
@click.option(
    "--data",
    type=existing,
    metavar="DATA.npz",
    help="In place of a task: x [N, T, ...], optional lengths and y; a fifth judges.",
)
@click.option(
    "--fractions", default="0.5,0.75,0.9", show_default=True, help="Removed of each matrix, with commas."
)
@click.option(
    "--weight-bits", default="8,4", show_default=True, help="What each matrix is rounded to, with commas."
)
@click.option("--criterion", default="magnitude", show_default=True, help="What is removed first.")
@click.option("--pattern", default="4x2", show_default=True, help="What is removed at once.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all that is random.")
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: str,
    task: Path | None,
    data: Path | None,
    fractions: str,
    weight_bits: str,
    criterion: str,
    pattern: str,
    seed: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Change one matrix of MODEL's recurrent layers at a time, and show what the model is then worth."""
    from stepcell.importers import import_model
    from stepcell.report.sensitivity import sensitivity, sensitivity_table

    shares, bits = _fractions(fractions), _bits(weight_bits)
    with progress(2) as begin:
        begin("import")
        imported = import_model(model, **import_arguments(**options))
        found = sensitivity(
            imported,
            _task(imported, task, data, seed),
            shares,
            bits,
            criterion,
            pattern,
            seed=seed,
            on_part=lambda _, part: begin("sensitivity", part),
        )
    if as_json:
        print_json([line.to_json() for line in found])
    else:
        print_table(sensitivity_table(found))


def _task(model: "Model", task: Path | None, data: Path | None, seed: int) -> "Task":
    from stepcell.compress.task import load_task, task_of_data

    if (task is None) == (data is None):
        raise click.UsageError("give one of --task FILE.py and --data DATA.npz.", click.get_current_context())
    if task is not None:
        return load_task(task)
    assert data is not None
    return task_of_data(data, model.functions, seed)


def _fractions(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0.0 < fraction < 1.0 for fraction in found):
        raise click.BadParameter(
            f"'{text}' has to be removed fractions such as 0.5,0.9.", param_hint="--fractions"
        )
    return found


def _bits(text: str) -> Any:
    found = tuple(text.split(","))
    if not set(found) <= {"8", "4"}:
        raise click.BadParameter(f"'{text}' has to be 8, 4 or 8,4.", param_hint="--weight-bits")
    return tuple(f"int{bits}" for bits in found)
