"""Results as tables for a terminal."""

from rich.table import Table

from stepcell.report.distribution import Distribution
from stepcell.report.profile import Cost
from stepcell.run import LayerProfile, Profile
from stepcell.validate import Validation


def validation_table(result: Validation) -> Table:
    """One line a link of the chain."""
    table = Table(title=f"{result.values_compared:,} states and outputs compared", title_justify="left")
    table.add_column("link")
    table.add_column(f"accuracy (per {result.accuracy_unit})", justify="right")
    table.add_column("result", justify="right")
    table.add_row("source, ONNX Runtime", _percent(result.accuracy_source), "")
    error = f"{result.float_vs_ort_max_abs:.1e} off ONNX Runtime"
    table.add_row("compressed float", _percent(result.accuracy_float), error)
    wrong = f"{result.integer_vs_ort_mismatches} mismatches with ONNX Runtime"
    table.add_row("integer reference", _percent(result.accuracy_integer), wrong)
    for backend, count in result.c_vs_integer_mismatches.items():
        table.add_row(
            f"C on {backend}",
            _percent(result.accuracy_c[backend]),
            f"{count} mismatches with the reference",
        )
    agreement = (
        f"{result.label_agreement:.2%} of the source's labels, error at most {result.max_abs_error:.3g}"
    )
    table.add_row("integer against source", "", agreement)
    if len(result.max_abs_errors) > 1:
        for name, largest in result.max_abs_errors.items():
            table.add_row(f"  output {name}", "", f"error at most {largest:.3g}")
    clipped = ", ".join(f"{count:,} of {name}" for name, count in result.clipped_inputs.items() if count)
    if clipped:
        table.caption = f"Numbers beyond what calibration saw, clipped: {clipped}."
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def profile_tables(cost: Cost) -> list[Table]:
    """One line a call of a step, a table a function; the memory below the last."""
    several = len(cost.profiles) > 1
    tables = [
        _profile_table(f"One step of {name}" if several else "One step", profile)
        for name, profile in cost.profiles.items()
    ]
    tables[-1].caption = _memory(cost)
    return tables


def _profile_table(title: str, profile: Profile) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in ("layer", "function"):
        table.add_column(name)
    for name in ("instructions", "MACs", "per MAC", "cycles (model)"):
        table.add_column(name, justify="right")
    for layer in profile.layers:
        table.add_row(*_layer_row(layer))
    table.add_section()
    total = profile.cycles
    cycles = "" if total is None else f"{total.low:,} .. {total.high:,}"
    ratio = f"{profile.instructions / profile.macs:.2f}" if profile.macs else ""
    table.add_row("step", "", f"{profile.instructions:,}", f"{profile.macs:,}", ratio, cycles)
    if profile.ends:
        table.add_section()
    for layer in profile.ends:
        name, *row = _layer_row(layer)
        table.add_row(f"{name}, at the end", *row)
    return table


def _layer_row(layer: LayerProfile) -> tuple[str, ...]:
    ratio = f"{layer.instructions / layer.macs:.2f}" if layer.macs else ""
    cycles = "" if layer.cycles is None else f"{layer.cycles.estimate:,}"
    macs = f"{layer.macs:,}" if layer.macs else ""
    return layer.layer, layer.function, f"{layer.instructions:,}", macs, ratio, cycles


def distribution_table(found: Distribution) -> Table:
    """Instructions of the steps of a data set, and what was skipped."""
    table = Table(title=f"{found.steps:,} steps of the data", title_justify="left", caption_justify="left")
    for name in ("", "min", "median", "mean", "95 %", "max"):
        table.add_column(name, justify="right")
    each = found.instructions
    numbers = (each.min, each.median, round(each.mean), each.p95, each.max)
    table.add_row("instructions", *(f"{number:,}" for number in numbers))
    if found.columns_skipped is not None:
        parts = ", ".join(f"{name} {_percent(share)}" for name, share in found.skipped.items())
        table.caption = f"{_percent(found.columns_skipped)} of the columns skipped ({parts})"
    return table


def _memory(cost: Cost) -> str:
    flash, ram = cost.text_bytes + cost.rodata_bytes, cost.state_bytes + cost.stack_bytes
    return (
        f"flash {flash:,} bytes (code {cost.text_bytes:,}, tables {cost.rodata_bytes:,}); "
        f"RAM {ram:,} bytes (state {cost.state_bytes:,}, stack {cost.stack_bytes:,})"
    )
