"""Which functions the runtime has, by its files, and which of them a step on a core may call."""

from stepcell.lower.delta import COLUMNS, PAIRS
from stepcell.lower.kernels import FAMILIES, kernels_of
from stepcell.paths import runtime_dir
from stepcell.target import Core

NOT_CALLED = {"sc_checksum8", "sc_checksum16", "sc_checksum32", "sc_sigmoid_table"}
"""By no step: self-tests call the first three, the last is data."""
INSIDE = {"sc_tflite_sigmoid", "sc_tflite_tanh", "sc_dense_tail", "sc_gru_tail", "sc_lstm_tail"}
"""Called by other functions of the runtime, whose costs are with those."""


def runtime_functions(core: Core) -> set[str]:
    """Every function of the runtime that a step on this core may call."""
    found = {path.stem for path in (runtime_dir() / "src").glob("sc_*.c")} - NOT_CALLED - INSIDE
    for of_cores in (_kernels, _conversions, _of_delta):
        found = found - of_cores(None) | of_cores(core)
    return found


def _kernels(core: Core | None) -> set[str]:
    """The matrix kernels of a core; of all cores for None."""
    kernels = [k for family in FAMILIES.values() for k in family] if core is None else kernels_of(core)
    return {kernel.name for kernel in kernels}


def _conversions(core: Core | None) -> set[str]:
    """What makes the vectors that the kernels of a core read."""
    kernels = [k for family in FAMILIES.values() for k in family] if core is None else kernels_of(core)
    found = set()
    for kernel in kernels:
        suffix = kernel.vector.removesuffix("_t").replace("int", "s")
        found |= {f"sc_widen_s{kernel.input_bits}_{suffix}"}
        found |= {f"sc_view_{suffix}"} if kernel.input_bits == 8 else set()
    return found - {"sc_widen_s8_s8", "sc_widen_s16_s16"}


def _of_delta(core: Core | None) -> set[str]:
    """Columns that change; in pairs where the core multiplies so, and the sums are small."""
    columns = {COLUMNS.name, "sc_hold_s8", "sc_hold_s16"}
    in_pairs = core is None or "hilo" in core.kernels
    return columns | ({PAIRS.name, "sc_hold_pairs_s8", "sc_hold_pairs_s16"} if in_pairs else set())
