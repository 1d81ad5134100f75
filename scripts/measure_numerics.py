"""Measures what the integer arithmetic loses, and prints the tables of docs/numerics-measured.md.

usage: python scripts/measure_numerics.py [--fidelity] [--inputs] [--dead-rows] [--tail]

--fidelity   every network, int8 and int16 activations, against the float interpreter
--inputs     where the error comes from: other scales of the input, and requantization without rounding
--dead-rows  rows without weights, under every floor of a row's scale
--tail       instructions a unit beside the matrices, on Cortex-M4 and M0+ with both compilers

Networks are trained once (about four minutes) and kept under build/numerics/. The digits need the Free
Spoken Digit Dataset (see examples/spoken_digits/data.py).
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numerics.dead_rows import deadened, pruned
from numerics.experiments import (
    exact_requantization,
    floors,
    peaks,
    powers_of_two,
    recurrent_int16,
    with_feature_scales,
)
from numerics.fidelity import Fidelity, Reference, measure, reference
from numerics.nets import NETS, Net, Task, load_task, trained
from numerics.tail import measure_tails

from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations

LIMITS = range(14, 25, 2)
NO_FLOOR = 1e9
DEAD_ROW_NETS: tuple[tuple[str, Activations], ...] = (("lstm", "int8"), ("gru", "int8"), ("gru", "int16"))


def main() -> int:
    """Print the tables that were asked for, or all of them."""
    parts: dict[str, Callable[[], None]] = {
        "fidelity": print_fidelity,
        "inputs": print_inputs,
        "dead-rows": print_dead_rows,
        "tail": print_tail,
    }
    parser = argparse.ArgumentParser(description="Measure what the integer arithmetic loses.")
    for name in parts:
        parser.add_argument(f"--{name}", action="store_true")
    chosen = vars(parser.parse_args())
    for name, part in parts.items():
        if chosen[name.replace("-", "_")] or not any(chosen.values()):
            part()
    return 0


def _tasks() -> Iterator[tuple[Task, Net, Model]]:
    tasks: dict[str, Task] = {}
    for net in NETS:
        task = tasks.setdefault(net.task, load_task(net.task))
        yield task, net, trained(net, task)


def print_fidelity() -> None:
    """One line a network and width of activations."""
    print("\n| network | accuracy float / integer | other labels | logits: max, mean error | state rms |")
    print("|---|---|---|---|---|")
    streams = []
    for task, net, model in _tasks():
        ref = reference(model, task.clips)
        for activations in ("int8", "int16"):
            found = measure(ref, quantize(model, task.calibration, activations))
            title = f"{net.name}, {activations}"
            print(f"| {title} | {_clip_columns(found)} |", flush=True)
            streams.append(f"| {title} | {_stream_columns(found)} |")
    print("\n| network | frames that agree | state rms first fifth | last fifth | cells at a limit |")
    print("|---|---|---|---|---|")
    print("\n".join(streams))


def _clip_columns(f: Fidelity) -> str:
    margin = f" (margins up to {f.margin:.2f})" if f.flips else ""
    return (
        f"{f.accuracy_float:.2%} / {f.accuracy_integer:.2%} | {f.flips} of {f.clips}{margin} | "
        f"{f.max_logit:.2f}, {f.mean_logit:.4f} | {f.state_rms:.4f} of {f.state_size:.2f}"
    )


def _stream_columns(f: Fidelity) -> str:
    cells = f"{f.saturations} of {f.cells:,}" if f.cells else "-"
    return f"{f.stream_agreement:.2%} | {_number(f.stream_first)} | {_number(f.stream_last)} | {cells}"


def _number(value: float) -> str:
    return f"{value:.4f}" if value < 1e3 else f"{value:.0e}"


def print_inputs() -> None:
    """A line a network: state rms (other labels; stream agreement; largest logit error) of each variant."""
    names = [
        "int8",
        "a scale a feature",
        "of powers of two",
        "99.9 %",
        "int16",
        "state as int16",
        "exact requantization",
    ]
    print(f"\n| network | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for task, net, model in _tasks():
        if net.layers == 1 and net.units < 100:
            found = _input_variants(task, model, reference(model, task.clips))
            print(f"| {net.name} | {' | '.join(_variant_column(f) for f in found)} |", flush=True)


def _variant_column(f: Fidelity) -> str:
    return f"{f.state_rms:.4f} ({f.flips}; {f.stream_agreement:.1%}; {f.max_logit:.2f})"


def _input_variants(task: Task, model: Model, ref: Reference) -> Iterator[Fidelity]:
    data = task.calibration
    yield measure(ref, quantize(model, data))
    for largest in (peaks(data), powers_of_two(peaks(data))):
        scaled = replace(data, x=data.x / largest)
        yield measure(ref, quantize(with_feature_scales(model, largest), scaled), 1.0 / largest)
    yield measure(ref, quantize(model, data, percentile=99.9))
    yield measure(ref, quantize(model, data, "int16"))
    with recurrent_int16():
        yield measure(ref, quantize(model, data))
    with exact_requantization():
        yield measure(ref, quantize(model, data))


def print_dead_rows() -> None:
    """State rms on clips by the limit of a bias, with and without the floor of 1/16 (and the pre-shift)."""
    task = load_task("vowels")
    columns = " | ".join(f"2^{bits}" for bits in LIMITS)
    for cell, activations in DEAD_ROW_NETS:
        print(f"\n{cell}, {activations}, state rms in thousandths\n")
        print(f"| rows | floor | {columns} | exact |\n|{'---|' * (len(LIMITS) + 3)}")
        base = trained(Net("vowels", cell, 32), task)
        for name, model in {"as trained": base, **pruned(base), **deadened(base)}.items():
            ref = reference(model, task.clips)
            for floor in (16, NO_FLOOR):
                cells = " | ".join(_under_floors(task, model, ref, floor, activations))
                print(f"| {name} | {'1/16' if floor == 16 else 'none'} | {cells} |", flush=True)


def _under_floors(
    task: Task, model: Model, ref: Reference, floor: float, activations: Activations
) -> Iterator[str]:
    def found() -> str:
        try:
            qmodel = quantize(model, task.calibration, activations)
        except StepcellError:
            return "refused"
        shift = qmodel.main.stages[0].ops[0].requant.input_pre_shift  # type: ignore[union-attr]
        return f"{1e3 * measure(ref, qmodel).state_rms:.2f} ({shift})"

    for bits in LIMITS:
        with floors(1 << bits, floor):
            yield found()
    with floors(1 << 18, 16), exact_requantization():
        yield found().split(" ")[0]


def print_tail() -> None:
    """Instructions a unit: one line a cell, one column a core and compiler."""
    tails = measure_tails()
    pairs = list(dict.fromkeys(key[:2] for key in tails))
    print(f"\n| cell | {' | '.join(' '.join(pair) for pair in pairs)} |\n|{'---|' * (len(pairs) + 1)}")
    for cell in dict.fromkeys(key[2] for key in tails):
        rows = [tails[*pair, cell] for pair in pairs]
        texts = [f"{all_:.0f}" + (f" ({memset:.0f} memset)" if memset else "") for all_, memset, _ in rows]
        print(f"| {cell} | {' | '.join(texts)} |")
    views = [max(view for key, (*_, view) in tails.items() if key[:2] == pair) for pair in pairs]
    print(f"| view of the state | {' | '.join(f'{view:.0f}' for view in views)} |")


if __name__ == "__main__":
    np.seterr(over="ignore")  # a diverging network's float stream may overflow
    sys.exit(main())
