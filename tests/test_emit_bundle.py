"""Bundles as folders: reproducible, whole, minimal, and C that every compiler takes."""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from random_bundles import M4, Case, compile_case, make_case, sized_model
from stepcell.build import Bundle, build_firmware, measure_flash
from stepcell.build.elf import Firmware
from stepcell.build.flags import STRICT
from stepcell.build.toolchains import device_module
from stepcell.emit import bundle as emitter
from stepcell.emit import emit
from stepcell.errors import StepcellError
from stepcell.lower import lower
from stepcell.target import load_board
from tools import require_tool

BOARD = load_board("mps2-an386")
LAYERS = ("lstm", "gru_after", "gru_before", "rnn_tanh", "rnn_relu")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("bundles")
    return [make_case(folder, seed, max_units=20) for seed in range(6000, 6008)]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def sample(layer: str = "gru_after", units: int = 8) -> Any:
    return lower(sized_model("sample", (layer,), 6, units, 3, "last"), M4)


def test_the_same_plan_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from random_bundles import make_case\n"
        "for seed in (6000, 6001, 6002): make_case(Path(sys.argv[1]), seed, max_units=20)"
    )
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        folder = tmp_path / hash_seed
        subprocess.run([sys.executable, "-c", script, str(folder)], env=environment, check=True)
    for seed in (6000, 6001, 6002):
        make_case(tmp_path / "here", seed, max_units=20)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "here") != {}


def test_an_older_bundle_is_replaced_whole(tmp_path: Path) -> None:
    folder = emit(sample(), tmp_path / "out", {"onnx/old.onnx": b"old"}, {})
    emit(sample("lstm"), folder, {"onnx/new.onnx": b"new"}, {})
    assert not (folder / "onnx" / "old.onnx").exists()
    assert (folder / "onnx" / "new.onnx").read_bytes() == b"new"
    assert not (folder / "stepcell" / "sc_gru.c").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_files_that_somebody_added_to_a_bundle_stay(tmp_path: Path) -> None:
    folder = emit(sample(), tmp_path / "out", {}, {})
    (folder / "src" / "deep").mkdir(parents=True)
    mine = {"notes.txt": "mine", "src/deep/main.c": "int main(void);", "sample_tuning.h": "also mine"}
    for name, text in mine.items():
        (folder / name).write_text(text)
    (folder / "link").symlink_to("nowhere")
    emit(sample("lstm"), folder, {}, {})
    assert {name: (folder / name).read_text() for name in mine} == mine
    assert (folder / "link").readlink() == Path("nowhere")
    assert (folder / "stepcell" / "sc_lstm.c").is_file()
    assert not (folder / "stepcell" / "sc_gru.c").exists()


def test_a_file_that_somebody_added_is_never_overwritten(tmp_path: Path) -> None:
    folder = emit(sample(), tmp_path / "out", {}, {})
    (folder / "stepcell" / "sc_lstm.c").write_text("mine")
    before = contents(folder)
    with pytest.raises(StepcellError, match=r"sc_lstm\.c was not written by stepcell"):
        emit(sample("lstm"), folder, {}, {})
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_files_in_a_bundle_of_an_older_version_stay_where_they_are_none_of_its_own(tmp_path: Path) -> None:
    folder = emit(sample(), tmp_path / "out", {"onnx/old.onnx": b"old"}, {})
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "notes.txt").write_text("mine")
    emit(sample("lstm"), folder, {}, {})
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "onnx").exists()


def test_the_manifest_lists_every_file_with_its_hash(cases: list[Case]) -> None:
    for case in cases:
        listed = json.loads((case.bundle.folder / "manifest.json").read_text())["files"]
        found = contents(case.bundle.folder)
        del found["manifest.json"]
        assert listed == {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


@pytest.mark.parametrize("there_was_one", [False, True])
def test_a_bundle_that_fails_midway_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_was_one: bool
) -> None:
    folder = tmp_path / "out"
    before = contents(emit(sample(), folder, {}, {})) if there_was_one else {}

    def fail(*_: object) -> dict[str, Any]:
        raise MemoryError

    monkeypatch.setattr(emitter, "manifest", fail)  # the last file that is written
    with pytest.raises(MemoryError):
        emit(sample("lstm"), folder, {}, {})
    assert contents(tmp_path) == {f"out/{name}": content for name, content in before.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["out"] * there_was_one


def test_a_folder_of_somebody_elses_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("the only copy")
    with pytest.raises(StepcellError, match="not empty and holds no stepcell bundle"):
        emit(sample(), tmp_path, {}, {})
    assert contents(tmp_path) == {"thesis.txt": b"the only copy"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert (emit(sample(), tmp_path / "new", {}, {}) / "manifest.json").is_file()
    (tmp_path / "empty").mkdir()
    assert (emit(sample(), tmp_path / "empty", {}, {}) / "manifest.json").is_file()


def test_a_bundle_holds_only_runtime_files_that_something_in_it_calls(cases: list[Case]) -> None:
    for case in cases:
        sources = [case.bundle.folder / source for source in case.bundle.sources]
        sources += (case.bundle.folder / "stepcell").glob("*.h")
        texts = {path.name: path.read_text() for path in sources}
        for name in texts:
            if name.startswith("sc_"):
                wanted = (
                    ("sc_total(", "sc_count(", "sc_mean(") if name == "sc_mean.c" else (name.split(".")[0],)
                )
                others = [text for other, text in texts.items() if other not in (name, "stepcell.h")]
                assert any(word in text for word in wanted for text in others), name


def test_the_manifest_lists_every_c_file_but_the_float_helpers(cases: list[Case]) -> None:
    for case in cases:
        folder, name = case.bundle.folder, case.bundle.name
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.c")}
        assert files - set(case.bundle.sources) == {f"{name}_float.c"}


def test_the_manifest_says_what_the_bundle_is(cases: list[Case]) -> None:
    for case in cases:
        manifest = json.loads((case.bundle.folder / "manifest.json").read_text())
        assert {"schema_version", "stepcell_version", "numerics_version", "target", "choices"} <= set(
            manifest
        )
        assert manifest["target"] == "cortex-m4"
        assert [call["function"] for call in manifest["calls"]] == [c.function for c in case.plan.calls]
        assert sum(call["macs"] for call in manifest["calls"]) == manifest["macs_per_step"]
        fields = {field["name"]: field for field in manifest["state"]["fields"]}
        assert set(fields) == {state.value.name for state in case.qmodel.states}
        assert "functions" not in manifest


def includes(bundle: Bundle) -> list[str]:
    return [f"-I{bundle.folder / folder}" for folder in bundle.include_dirs]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_every_c_file_is_clean_and_has_no_mutable_data(
    tmp_path: Path, cases: list[Case], compiler: str
) -> None:
    require_tool(compiler, "elftools")
    elffile = device_module("elftools.elf.elffile")
    for case in cases:
        for path in case.bundle.folder.rglob("*.c"):
            out = tmp_path / "unit.o"
            command = [compiler, *STRICT, "-O2", "-fno-pic", *includes(case.bundle), "-c", str(path)]
            subprocess.run([*command, "-o", str(out)], check=True)
            with out.open("rb") as stream:
                sections = {s.name: s["sh_size"] for s in elffile.ELFFile(stream).iter_sections()}
            assert sections.get(".data", 0) == sections.get(".bss", 0) == 0, path


@pytest.mark.needs("g++")
def test_every_header_is_clean_cpp(tmp_path: Path, cases: list[Case]) -> None:
    for case in cases:
        name = case.bundle.name
        source = tmp_path / f"{name}.cpp"
        lines = [f'#include "{name}{suffix}.h"' for suffix in ("_float", "_weights", "")]
        source.write_text("\n".join([*lines, f"int main() {{ return {name}_selftest(); }}", ""]))
        flags = ("-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only")
        subprocess.run(["g++", *flags, *includes(case.bundle), str(source)], check=True)


def test_a_bundle_for_another_runtime_does_not_compile(tmp_path: Path, cases: list[Case]) -> None:
    require_tool("gcc")
    bundle = cases[0].bundle
    header = (bundle.folder / "stepcell" / "stepcell.h").read_text()
    (tmp_path / "stepcell.h").write_text(header.replace("SC_NUMERICS_VERSION 1", "SC_NUMERICS_VERSION 2"))
    command = ["gcc", "-fsyntax-only", f"-I{tmp_path}", *includes(bundle), f"{bundle.name}.c"]
    ended = subprocess.run(command, cwd=bundle.folder, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "another stepcell runtime" in ended.stderr


@pytest.mark.parametrize("name", ["x", "Model_2", "a" * 40])
def test_names_of_every_form_compile(tmp_path: Path, name: str) -> None:
    require_tool("gcc")
    case = compile_case(tmp_path, replace(sized_model("m", ("lstm",), 3, 4, 2, "last"), name=name), rng())
    for path in case.bundle.folder.glob("*.c"):
        command = ["gcc", *STRICT, *includes(case.bundle), "-fsyntax-only", str(path)]
        subprocess.run(command, check=True)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
def test_the_code_of_a_gru_of_32_units_takes_at_most_3_kilobytes(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "elftools")
    case = compile_case(tmp_path, sized_model("gru32", ("gru_after",), 12, 32, 9, "last"), rng())
    use = measure_flash(build_firmware([case.bundle], BOARD, tmp_path / "out", compiler))
    print(f"GRU-32 with {compiler}: text {use.text}, rodata {use.rodata} bytes")
    assert use.text <= 3072


@pytest.mark.parametrize("layer", LAYERS)
def test_no_layer_needs_the_compilers_library_on_a_cortex_m0plus(tmp_path: Path, layer: str) -> None:
    require_tool("arm-gcc", "elftools")
    case = compile_case(tmp_path, sized_model("sample", (layer,), 5, 9, 3, "mean_max"), rng())
    elf = build_firmware([case.bundle], load_board("emulated-cortex-m0plus"), tmp_path / "out", "arm-gcc")
    firmware = Firmware(elf)
    library = {s.name for s in firmware.symbols if firmware.in_section(s.address, ".library")}
    allowed = re.compile(r"(__aeabi_)?mem(set|clr|cpy)[48]?")  # which every C compiler may call for a loop
    assert [name for name in library if not allowed.fullmatch(name)] == []
