"""What the builder accepts as bundles."""

import shutil
from pathlib import Path

import pytest

from bundles import changed_bundle, fixture_bundle
from stepcell.build import build_host, load_bundle
from stepcell.build.objects import CompileError
from stepcell.errors import StepcellError
from tools import require_tool


def test_load_bundle_aligns_every_port_to_four_bytes() -> None:
    mixer = fixture_bundle("mixer")
    assert [port.offset for port in mixer.inputs] == [0, 4]
    assert (mixer.main.x_bytes, mixer.main.y_bytes) == (8, 8)


def test_load_bundle_names_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match=r"no manifest\.json"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"calls"', '"cals"', "calls"),
        ('"y", "dtype": "int16"', '"y", "dtype": "float"', "float"),
        ('"name": "counter",', "", "name"),
    ],
)
def test_load_bundle_refuses_a_wrong_manifest(tmp_path: Path, old: str, new: str, match: str) -> None:
    with pytest.raises(StepcellError, match=match):
        changed_bundle(tmp_path, "counter", "manifest.json", old, new)


def test_build_host_refuses_two_bundles_of_one_name(tmp_path: Path) -> None:
    require_tool("gcc")
    counter = fixture_bundle("counter")
    with pytest.raises(StepcellError, match="different names"):
        build_host([counter, counter], tmp_path, "gcc")


def test_build_host_refuses_runtimes_that_differ(tmp_path: Path) -> None:
    require_tool("gcc")
    other = changed_bundle(tmp_path, "mixer", "stepcell/sc_clamp.c", "> 32767", "> 32766")
    with pytest.raises(StepcellError, match=r"sc_clamp\.c differ"):
        build_host([fixture_bundle("counter"), other], tmp_path, "gcc")


def test_build_host_shows_the_compilers_words_for_bad_c(tmp_path: Path) -> None:
    require_tool("gcc")
    bad = changed_bundle(tmp_path, "counter", "counter.c", "int16_t clamped", "int16_t unused, clamped")
    with pytest.raises(CompileError, match="unused"):
        build_host([bad], tmp_path / "out", "gcc")


def test_build_host_names_the_compilers_that_it_knows(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="allowed are zig, gcc, clang"):
        build_host([fixture_bundle("counter")], tmp_path, "tcc")


def test_build_host_sees_a_changed_header(tmp_path: Path) -> None:
    require_tool("gcc")
    bundle = changed_bundle(tmp_path, "counter", "counter.h", "#define COUNTER_Y 2", "#define COUNTER_Y 2 ")
    build_host([bundle], tmp_path / "out", "gcc")
    (bundle.folder / "counter.h").write_text("#error changed\n")
    with pytest.raises(CompileError, match="changed"):
        build_host([bundle], tmp_path / "out", "gcc")
    shutil.rmtree(tmp_path / "out")
