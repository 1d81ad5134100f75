"""Measures what every runtime function costs on a core, and writes it into targets/cores/<core>.toml.

usage: python scripts/measure_costs.py cortex-m4 [cortex-m0plus ...] [--check]

Every matrix kernel of the core runs on random matrices, and random models are compiled so that each kernel is
taken in some of them, and some with delta; what those do not call, models of one operation do. Every call is
counted exactly in an emulator, and an affine model of each function is fitted to the counts. Frames, of the
generated functions too, are what the core's GCC and zig say of them, and what assembly says of itself.
--check fails if the tables in the repository are not what is measured now.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from kernel_images import KernelCase, run_kernels
from random_bundles import preferring
from random_models import random_qmodel
from runtime_functions import INSIDE, runtime_functions
from single_operations import single_operations
from stepcell.build import Bundle, build_firmware, find_tool, load_bundle
from stepcell.build.flags import command, firmware_flags
from stepcell.emit import emit
from stepcell.ir.qmodel import QHold, QModel
from stepcell.lower import lower
from stepcell.lower.estimate import GLUE, spilled_bytes
from stepcell.lower.kernels import Kernel, kernels_of
from stepcell.lower.parts import Work
from stepcell.lower.plan import Plan
from stepcell.paths import runtime_dir, targets_dir
from stepcell.quantize.delta import hold_inputs
from stepcell.reference.integer_model import run_integer
from stepcell.run import profile_step
from stepcell.run.emulators import counting_emulator
from stepcell.run.profile import random_job
from stepcell.target import Board, Core, board_for, load_core

MODELS, HELD_MODELS = 160, 48
RESERVE = 8  # bytes of stack that no generated function used; tests/test_lower_estimate.py has other models
MARKER = "# Measured by scripts/measure_costs.py"
SHAPES = [(rows, cols) for rows in (8, 32) for cols in (1, 3, 8, 10, 16, 33, 64, 128)]
DENSITIES = (0.1, 0.25, 0.5)
Row = tuple[Work, int]


def main(arguments: Sequence[str]) -> int:
    """Measure the named cores; 1 if --check finds another table than the stored one."""
    stale = 0
    for name in (a for a in arguments if not a.startswith("-")):
        path = targets_dir() / "cores" / f"{name}.toml"
        stored = path.read_text()
        fresh = stored[: stored.index(MARKER)] + measure(load_core(name))
        if "--check" in arguments:
            stale |= fresh != stored
            print(f"{name}: {'other costs than stored' if fresh != stored else 'as stored'}")
        else:
            path.write_text(fresh)
    return stale


def measure(core: Core) -> str:
    """The [costs] tables of a core as TOML text."""
    held = _held_models(core)
    plans = [*_plans(core), *_single_plans(core), *held]
    with tempfile.TemporaryDirectory() as folder:
        rows = _count_kernels(core, Path(folder)) + _count_models(core, plans, held, Path(folder))
        frames = _frames(core, Path(folder))
        glue = {"address": _address_bytes(core), "stack": _glue_stack(core, plans, Path(folder))}
    keys = sorted({(function, what) for work, _ in rows for function, what, _ in work})
    costs = dict(zip(keys, _fit(rows, keys), strict=True))
    functions = {function for function, _ in keys}
    if missing := sorted(runtime_functions(core) - functions):
        raise SystemExit(f"{core.name}: no model calls {', '.join(missing)}: tests/single_operations.py")
    lines = [f"{MARKER}: instructions per call, pass, row group and item, by {core.gcc} -O2; bytes of stack."]
    for function in sorted(functions):
        values = {what: cost for (f, what), cost in costs.items() if f == function}
        values |= glue if function == GLUE else {"stack": frames.get(function, 0)}
        lines += [f"[costs.{function}]", *(f"{what} = {cost:g}" for what, cost in values.items())]
    inside = [name for name in sorted(INSIDE) if name in frames]
    lines += [line for name in inside for line in (f"[costs.{name}]", f"stack = {frames[name]}")]
    return "\n".join(lines) + "\n"


def _count_kernels(core: Core, folder: Path) -> list[Row]:
    rng = np.random.default_rng(0)
    cases = [case for kernel in kernels_of(core) for case in _cases(rng, kernel)]
    results = run_kernels(board_for(core).name, cases, folder / "kernels", core.gcc)
    return [(_kernel_work(case), result.instructions) for case, result in zip(cases, results, strict=True)]


def _cases(rng: np.random.Generator, kernel: Kernel) -> list[KernelCase]:
    """Matrices of the sizes that a pass of a layer has."""
    cases = []
    for rows, cols in SHAPES:
        for density in DENSITIES if "x" in kernel.format else (1.0,):
            weights = rng.integers(-kernel.weight_limit, kernel.weight_limit + 1, (rows, cols))
            weights *= np.repeat(rng.random((rows // kernel.rows, cols)) < density, kernel.rows, axis=0)
            x = rng.integers(-128, 128, cols)
            cases.append(KernelCase(kernel, weights, np.zeros(rows, np.int64), x))
    return cases


def _kernel_work(case: KernelCase) -> Work:
    kernel, rows = case.kernel, len(case.weights)
    name, items = kernel.name, kernel.pack(case.weights, case.starts).items
    return ((name, "call", 1), (name, "group", rows // kernel.rows), (name, "item", items))


def _count_models(core: Core, plans: list[Plan], held: dict[Plan, QModel], folder: Path) -> list[Row]:
    board = board_for(core)
    for plan in plans:
        emit(plan, folder / plan.name, {}, {})
    rows: list[Row] = []
    for start in range(0, len(plans), 40):
        part = plans[start : start + 40]
        bundles = [load_bundle(folder / plan.name) for plan in part]
        elf = build_firmware(bundles, board, folder / f"image{start}", core.gcc)
        for plan, bundle in zip(part, bundles, strict=True):
            rows += _rows(plan, elf, board, bundle, held.get(plan))
    return rows


def _rows(plan: Plan, elf: Path, board: Board, bundle: Bundle, held: QModel | None) -> list[Row]:
    profile = profile_step(elf, bundle, board, counting_emulator(None, board), _memory_rows(plan))
    *layers, glue = profile.layers
    works = [call.work for call in plan.calls] if held is None else _changed(plan, held, bundle)
    rows = [(work, layer.instructions) for work, layer in zip(works, layers, strict=True)]
    functions = len(plan.bodies)
    return [*rows, (((GLUE, "function", functions), (GLUE, "call", len(plan.calls))), glue.instructions)]


def _memory_rows(plan: Plan) -> int:
    """The steps after which a memory is full, as it is in the terms of a call's work."""
    return max(
        (n for call in plan.calls for f, what, n in call.work if (f, what) == ("sc_weights", "row")),
        default=1,
    )


def _plans(core: Core) -> list[Plan]:
    plans = []
    kernels = kernels_of(core)
    for seed in range(MODELS):
        rng = np.random.default_rng(seed)
        kernel = kernels[seed % len(kernels)]
        weights = "int8" if kernel.weight_limit > 7 else "int4"
        activations = f"int{kernel.input_bits}"
        qmodel, _ = random_qmodel(rng, activations=activations, weights=weights, max_units=48, attention=None)
        favoured = preferring(core, kernel)
        plans.append(lower(replace(qmodel, name=f"m{seed}"), favoured, optimize="speed"))
    return plans


def _single_plans(core: Core) -> list[Plan]:
    return [lower(qmodel, core) for qmodel in single_operations(np.random.default_rng(0))]


def _held_models(core: Core) -> dict[Plan, QModel]:
    """Models with delta, as random as the others; every second one with columns where pairs would do."""
    found = {}
    columns = replace(core, kernels=tuple(family for family in core.kernels if family != "hilo"))
    for seed in range(HELD_MODELS):
        rng = np.random.default_rng([seed, 1])
        layers = (("lstm", "gru_after", "rnn_tanh")[seed % 3],)
        model, _ = random_qmodel(rng, layers=layers, prelude="none", max_units=48)
        qmodel = hold_inputs(replace(model, name=f"held{seed}"), int(rng.integers(0, 100)))
        found[lower(qmodel, (core, columns)[seed // 3 % 2])] = qmodel
    return found


def _changed(plan: Plan, qmodel: QModel, bundle: Bundle) -> list[Work]:
    """The work of every call in the step that is counted: that of the columns which change in it."""
    x = next(iter(random_job(bundle, 2).lanes[0].parts[0].inputs.values()))
    states = run_integer(qmodel, x.reshape(1, 2, *qmodel.main.inputs[0].shape).astype(np.int64)).states
    changed = {
        op.held: (states[op.held][0, 0] != states[op.held][0, 1]).reshape(-1)
        for op in qmodel.main.stages[0].ops
        if isinstance(op, QHold)
    }
    shares: list[float] = []
    works = []
    for call in plan.calls:
        if call.layer in changed:
            columns = changed[call.layer]
            pairs = np.pad(columns, (0, len(columns) % 2)).reshape(-1, 2).any(axis=1)
            shares.append(float((pairs if "pairs" in call.function else columns).mean()))
            work = [(f, what, int(columns.sum()) if what == "change" else n) for f, what, n in call.work]
        else:
            work = [
                (f, what, round(n * shares.pop(0)) if f.startswith("sc_delta") and what == "item" else n)
                for f, what, n in call.work
            ]
        works.append(tuple(work))
    return works


def _fit(rows: list[Row], keys: list[tuple[str, str]]) -> list[float]:
    """Least squares of relative errors, to three digits."""
    matrix = np.zeros((len(rows), len(keys)))
    for i, (work, _) in enumerate(rows):
        for function, what, count in work:
            matrix[i, keys.index((function, what))] += count
    counts = np.array([count for _, count in rows], np.float64)
    solution, *_ = np.linalg.lstsq(matrix / counts[:, None], np.ones(len(rows)), rcond=None)
    error = np.abs(matrix @ solution / counts - 1)
    print(
        f"{len(rows)} calls, relative error {error.mean():.2%} on average, {error.max():.1%} at most",
        file=sys.stderr,
    )
    return [float(f"{value:.3g}") for value in solution]


def _frames(core: Core, folder: Path) -> dict[str, int]:
    """Stack frame of every runtime function: what its compilers say, and what assembly says of itself."""
    frames: dict[str, int] = {}
    source = runtime_dir() / "src"
    own = sorted((source / core.kernel_folder).glob("sc_*")) if core.kernel_folder else []
    headers = [path for path in own if path.suffix == ".h"]
    # Flat, as a bundle has them: sc_isa.h is the folder's; its C files lie beside the portable ones.
    files = {path.name: path.read_text() for path in [*source.glob("*.[ch]"), *headers]}
    files |= {f"own_{path.name}": path.read_text() for path in own if path.suffix == ".c"}
    for name, text in files.items():
        (folder / name).write_text(text)
    for name in sorted(name for name in files if name.endswith(".c")):
        for function, size in _compiled_frames(core, folder, name, runtime_dir() / "include").items():
            frames[function] = max(frames.get(function, 0), size)
    for path in own:
        if path.suffix == ".S":
            frames[path.stem] = declared_frame(path)
    return {name: size for name, size in frames.items() if name.startswith("sc_")}


def _glue_stack(core: Core, plans: list[Plan], folder: Path) -> int:
    """What frames of generated functions take beyond their arrays and what `spilled_bytes` counts."""
    most = 0
    for plan in plans:
        bundle = folder / plan.name
        frames = _compiled_frames(core, bundle, f"{plan.name}.c", bundle / "stepcell")
        names = ("push", "read") if plan.main.read else ("step",)
        for name, body in zip(names, plan.bodies, strict=True):
            arrays = sum(buffer.bytes for buffer in body.buffers)
            spilled = spilled_bytes(body, _address_bytes(core))
            most = max(most, frames[f"{plan.main.prefix}_{name}"] - arrays - spilled)
    return -(-(most + RESERVE) // 8) * 8


def _address_bytes(core: Core) -> int:
    return 8 if core.isa == "aarch64" else 4


def _compiled_frames(core: Core, folder: Path, source: str, include: Path) -> dict[str, int]:
    """The largest frame of every function of a C file in `folder`, by the compilers of the core."""
    frames: dict[str, int] = {}
    for compiler in (core.gcc, *(["zig"] if core.zig_target else [])):
        tool = find_tool(compiler)
        report = "-fstack-size-section" if compiler == "zig" else "-fstack-usage"
        build = [*command(tool), *firmware_flags(tool, core, "-O2"), "-std=c99", report, "-c"]
        subprocess.run([*build, f"-I{include}", source, "-o", "unit.o"], cwd=folder, check=True)
        found = _frames_in_object if compiler == "zig" else _frames_beside_object
        for function, size in found(folder / "unit.o").items():
            frames[function] = max(frames.get(function, 0), size)
    return frames


def _frames_beside_object(path: Path) -> dict[str, int]:
    """GCC's: a line of "file:line:column:function", bytes and kind for each function."""
    rows = [line.split("\t") for line in path.with_suffix(".su").read_text().splitlines()]
    return {where.rsplit(":", 1)[-1]: int(size) for where, size, _ in rows}


def _frames_in_object(path: Path) -> dict[str, int]:
    """Clang's: for the section of each function, one with its address and, in LEB128, its bytes."""
    frames = {}
    with path.open("rb") as file:
        elf = ELFFile(file)
        for section in elf.iter_sections():
            if section.name == ".stack_sizes":
                digits = section.data()[elf.elfclass // 8 :]
                function = elf.get_section(section["sh_link"]).name.removeprefix(".text.")
                frames[function] = sum((digit & 127) << 7 * i for i, digit in enumerate(digits))
    return frames


def declared_frame(path: Path) -> int:
    """What the function of an assembly file, which has the file's name, says that it takes of the stack."""
    text = path.read_text()
    found = re.findall(r"/\* frame: (\d+) bytes \*/", text)
    if len(found) != 1 or not re.search(rf"\b{path.stem}\b", text):
        raise ValueError(f"{path}: {path.stem} has {len(found)} comments `/* frame: N bytes */`, not one.")
    return int(found[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
