"""What a QModel takes on a target, without a finished bundle: for tables that compare many models."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stepcell.build.bundle import load_bundle
from stepcell.build.firmware import build_firmware, firmware_compilers
from stepcell.build.sizes import FlashUse, measure_flash
from stepcell.build.toolchains import installed_tools
from stepcell.emit import emit
from stepcell.ir.memory import most_steps
from stepcell.ir.model import Model, all_ops
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences, by_function
from stepcell.lower import lower
from stepcell.lower.plan import Plan
from stepcell.target import resolve_target
from stepcell.target.model import Board, Core


@dataclass(frozen=True)
class TargetCost:
    """Bytes, and instructions of one step of the model's first function; None where nothing tells them.

    weight_bytes: weights, indices, biases and scales. rodata_bytes: those, layer descriptors and the tables
    of the activations, as linked: all that lies in flash but code; flash_bytes: with the code.
    instructions_per_step: from the core's measured costs, within 6 % of exact counts.
    """

    weight_bytes: int
    rodata_bytes: int | None
    flash_bytes: int | None
    instructions_per_step: int | None


def cost_on_target(qmodel: QModel, target: str, max_steps: int | None = None) -> TargetCost:
    """Lower the model for the target; link it, too, where a compiler for the target is installed.

    Raises StepcellError for an unknown target, and for a model that needs `max_steps` and has none.
    """
    core, board = resolve_target(target)
    plan = lower(qmodel, core, max_steps=max_steps)
    flash = None if board is None else _linked(plan, core, board)
    estimate = plan.functions[0].estimate
    return TargetCost(
        sum(table.bytes for table in plan.tables),
        None if flash is None else flash.rodata,
        None if flash is None else flash.total,
        None if estimate is None else estimate.instructions,
    )


def longest_run(model: Model, data: Sequences) -> int | None:
    """Steps of the longest sequence, where a function reads whole ones; what --max-steps has to be then."""
    whole = [function for function in model.functions if not function.is_step]
    if not whole or most_steps(all_ops(model)) is not None:
        return None
    fed: Mapping[str, Sequences] = by_function(model.functions, data)
    return max(int(fed[f.name].lengths.max()) // f.frames_per_step for f in whole)


def _linked(plan: Plan, core: Core, board: Board) -> FlashUse | None:
    tools = installed_tools()
    if not any(tools.get(name) for name in firmware_compilers(core)):
        return None
    with tempfile.TemporaryDirectory(prefix="stepcell-") as temporary:
        folder = emit(plan, Path(temporary) / plan.name, {}, {"target": board.name})
        return measure_flash(build_firmware([load_bundle(folder)], board, Path(temporary) / "firmware"))
