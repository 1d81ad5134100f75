"""The cost tables in targets/cores say what the kernels take: lower chooses formats by them."""

from pathlib import Path

import numpy as np
import pytest

from kernel_images import KernelCase, run_kernels
from stepcell.ir.model import Block
from stepcell.lower.block import block_of, break_even, preferred_block
from stepcell.lower.kernels import Kernel, kernels_of
from stepcell.target import Core, board_for, list_targets
from tools import require_tool

MEASURED = [core for core in list_targets() if core.costs and not core.costs_of and not core.is_host]
ROWS, COLS = 128, 128
TOLERANCE = 0.06


def case(kernel: Kernel) -> KernelCase:
    rng = np.random.default_rng(0)
    weights = rng.integers(-kernel.weight_limit, kernel.weight_limit + 1, (ROWS, COLS))
    if "x" in kernel.format:
        block = block_of(kernel)
        kept = rng.random((ROWS // block.rows, COLS // block.cols)) < 0.25
        weights *= np.kron(kept, np.ones((block.rows, block.cols), np.int64))
    return KernelCase(kernel, weights, np.zeros(ROWS, np.int64), rng.integers(-128, 128, COLS))


def predicted(core: Core, one: KernelCase) -> float:
    cost = core.costs[one.kernel.name]
    items = one.kernel.pack(one.weights, one.starts).items
    return cost["call"] + cost["group"] * ROWS / one.kernel.rows + cost["item"] * items


@pytest.mark.parametrize("core", MEASURED, ids=lambda core: core.name)
def test_the_cost_table_is_within_6_percent_of_the_exact_count(tmp_path: Path, core: Core) -> None:
    require_tool(core.gcc, "elftools", "capstone")
    cases = [case(kernel) for kernel in kernels_of(core)]
    results = run_kernels(board_for(core).name, cases, tmp_path, core.gcc)
    errors = {
        one.kernel.name: predicted(core, one) / result.instructions - 1
        for one, result in zip(cases, results, strict=True)
    }
    assert max(map(abs, errors.values())) < TOLERANCE, errors


@pytest.mark.parametrize("core", MEASURED, ids=lambda core: core.name)
def test_every_core_has_a_block_that_pays(core: Core) -> None:
    block = preferred_block(core)
    (best, *_) = [found for found in break_even(core) if found.format == f"{block.rows}x{block.cols}"]
    assert best.faster_below > 0.4
    assert best.smaller_below > 0.3


def test_the_preferred_block_is_a_small_one_among_the_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {Block(4, 1): 105, Block(4, 2): 100, Block(4, 4): 99, Block(1, 1): 300}
    kernels = {block: object() for block in costs}
    by_kernel = {kernel: block for block, kernel in kernels.items()}
    monkeypatch.setattr("stepcell.lower.block._by_speed", lambda _: list(by_kernel))
    monkeypatch.setattr("stepcell.lower.block.block_of", by_kernel.__getitem__)
    monkeypatch.setattr("stepcell.lower.block._instructions", lambda _, kernel, __: costs[by_kernel[kernel]])
    assert preferred_block(MEASURED[0]) == Block(4, 1)
