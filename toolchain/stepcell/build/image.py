"""What goes into one image: the bundles' files, the runtime once, and the harness around them."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import jinja2

from stepcell.build.bundle import Bundle, Function
from stepcell.build.objects import Unit
from stepcell.errors import StepcellError
from stepcell.paths import targets_dir

RUNTIME_FOLDER = "stepcell"


def bundle_units(bundles: Sequence[Bundle]) -> list[Unit]:
    """The bundles' own files, and the union of their runtime files.

    Raises StepcellError where two bundles have one name, or runtime files of different versions.
    """
    _check_names(bundles)
    _check_runtimes(bundles)
    units: dict[str, Unit] = {}
    for bundle in bundles:
        for source in bundle.sources:
            unit = _bundle_unit(bundle, source)
            units.setdefault(unit.object_name, unit)
    return list(units.values())


def harness_units(bundles: Sequence[Bundle], support: Sequence[str], out_dir: Path) -> list[Unit]:
    """The harness, its table of models (written to `out_dir`), and the support files named."""
    folder = targets_dir() / "support"
    models = _write_models(bundles, out_dir)
    includes = (str(folder / "harness"), *(str(d) for bundle in bundles for d in _include_dirs(bundle)))
    return [
        Unit(folder / "harness", "harness.c", (".",), "harness.o"),
        Unit(models.parent, models.name, includes, "models.o"),
        *(_support_unit(folder, name) for name in support),
    ]


def render(template: Path, **values: object) -> str:
    """A Jinja template of `targets/support` filled with `values`; an undefined value is a bug."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)


def _check_names(bundles: Sequence[Bundle]) -> None:
    names = [bundle.name for bundle in bundles]
    if len(set(names)) != len(names):
        raise StepcellError(
            f"Bundles of one image need different names; found {', '.join(names)}.",
            "Compile one of them again with --name.",
        )


def _check_runtimes(bundles: Sequence[Bundle]) -> None:
    seen: dict[str, Path] = {}
    for bundle in bundles:
        for path in sorted((bundle.folder / RUNTIME_FOLDER).rglob("*.[chS]")):
            name = path.relative_to(bundle.folder).as_posix()
            first = seen.setdefault(name, path)
            if first.read_bytes() != path.read_bytes():
                raise StepcellError(
                    f"{first} and {path} differ; bundles of one image share one runtime.",
                    "Compile both models with the same stepcell.",
                )


def _bundle_unit(bundle: Bundle, source: str) -> Unit:
    """Runtime files see only runtime headers, so that every bundle shares their objects."""
    if PurePosixPath(source).parts[0] == RUNTIME_FOLDER:
        includes = tuple(d for d in bundle.include_dirs if PurePosixPath(d).parts[:1] == (RUNTIME_FOLDER,))
        return Unit(bundle.folder, source, includes, _object_name(source, "model"))
    kind = "selftest" if source == f"{bundle.name}_selftest.c" else "model"
    return Unit(bundle.folder, source, bundle.include_dirs, _object_name(f"{bundle.name}/{source}", kind))


def _object_name(source: str, kind: str) -> str:
    stem = source if source.endswith(".S") else source.removesuffix(".c")
    return f"{stem.replace('/', '-')}.{kind}.o"


def _support_unit(folder: Path, name: str) -> Unit:
    path = folder / name
    kind = "library" if path.stem == "mem" else "support"
    includes = (".", str(folder / "harness"))
    return Unit(path.parent, path.name, includes, f"{path.stem}.{kind}.o")


def _include_dirs(bundle: Bundle) -> list[Path]:
    return [bundle.folder / folder for folder in bundle.include_dirs]


def _write_models(bundles: Sequence[Bundle], out_dir: Path) -> Path:
    functions = [function for bundle in bundles for function in bundle.functions]
    text = render(
        targets_dir() / "support" / "harness" / "models.c.j2",
        models=[_model_values(bundle) for bundle in bundles],
        state_bytes=max(bundle.state_bytes for bundle in bundles),
        x_bytes=max(function.x_bytes for function in functions),
        y_bytes=max(function.y_bytes for function in functions),
    )
    path = out_dir / "models.c"
    path.write_text(text, encoding="utf-8")
    return path


def _model_values(bundle: Bundle) -> dict[str, object]:
    return {
        "name": bundle.name,
        "id": bundle.id,
        "state_bytes": bundle.state_bytes,
        "functions": [_function_values(function) for function in bundle.functions],
        "selftest_argument": "state" if bundle.has_buffers else "",
    }


def _function_values(function: Function) -> dict[str, object]:
    x = [f"(const void *)(x + {port.offset})" for port in function.inputs]
    steps = [] if function.is_step else ["(uint16_t)(x[0] | (unsigned)x[1] << 8)"]
    y = [f"(void *)(y + {port.offset})" for port in function.outputs]
    return {
        "prefix": function.prefix,
        "call": "step" if function.is_step else "run",
        "x_bytes": function.x_bytes,
        "y_bytes": function.y_bytes,
        "arguments": "".join(f", {argument}" for argument in (*x, *steps, *y)),
        "unused": [name for name, used in (("x", x + steps), ("y", y)) if not used],
    }
