"""Cores and boards as data."""

from pathlib import Path

import pytest

from stepcell.errors import StepcellError
from stepcell.target import board_for, list_targets, load, load_core, resolve_target


def test_list_targets_starts_with_the_host_and_has_the_common_cores() -> None:
    names = [core.name for core in list_targets()]
    assert names[0] == "host"
    assert {"cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m33"} <= set(names)


def test_resolve_target_takes_a_core_a_board_or_the_host() -> None:
    core, board = resolve_target("cortex-m4")
    assert board is not None
    assert (core.name, board.name) == ("cortex-m4", "mps2-an386")
    assert resolve_target(board.name) == (core, board)
    assert resolve_target("host")[1] is None


def test_every_core_but_the_host_has_a_board_with_its_memory_map() -> None:
    for core in list_targets()[1:]:
        board = board_for(core)
        assert board.core == core.name
        assert board.flash_bytes >= (2**18 if core.isa == "avr" else 2**20)
        assert board.ram_bytes >= (2**13 if core.isa == "avr" else 2**20)


def test_host_has_no_board() -> None:
    with pytest.raises(StepcellError, match="no board"):
        board_for(load_core("host"))


@pytest.mark.parametrize(("name", "hint"), [("cortex-m4f", "'cortex-m4'"), ("zzz", "stepcell targets")])
def test_resolve_target_names_the_known_and_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(StepcellError, match=r"known are .*cortex-m33") as caught:
        resolve_target(name)
    assert hint in caught.value.hint


def test_cycle_table_defaults_extras_to_zero_and_classes_to_other() -> None:
    table = load_core("cortex-m0plus").cycles
    assert table is not None
    assert table.cost("taken_link_extra") == (0, 0, 0)
    assert table.cost("multiply_accumulate") == table.cost("other") == (1, 1, 1)
    assert table.cost("branch_link") == (3, 3, 3)


def test_cores_without_a_published_table_have_no_cycles() -> None:
    assert load_core("cortex-m7").cycles is None
    assert load_core("cortex-m33").cycles is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("description = ", "not valid TOML"),
        ('description = "x"', "lacks .*isa"),
        ('description = "x"\nisa = "i"\nfpu = true\ndsp = true\nram = 4', "unknown keys .*ram"),
        ('description = "x"\nisa = "i"\nfpu = true\ndsp = true\n[cycles]\nlaod = [1, 1, 1]', "laod"),
        ('description = "x"\nisa = "i"\nfpu = true\ndsp = true\n[cycles]\nload = 1', "allowed is"),
    ],
)
def test_load_core_refuses_a_malformed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, match: str
) -> None:
    (tmp_path / "cores").mkdir()
    (tmp_path / "cores" / "mine.toml").write_text(text)
    monkeypatch.setattr(load, "targets_dir", lambda: tmp_path)
    with pytest.raises(StepcellError, match=match):
        load_core("mine")
