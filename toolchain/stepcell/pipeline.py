"""The whole tool on one screen: source -> Model -> compressed Model -> QModel -> Plan -> C."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from onnx import TensorProto

from stepcell.compress import prune
from stepcell.emit import emit
from stepcell.emit.banner import banner
from stepcell.emit.output import check_name, check_output, unwritable
from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.exporters.integer_onnx import export_integer
from stepcell.importers import import_model
from stepcell.importers.onnx import import_onnx
from stepcell.importers.onnx.load import parse, read_model
from stepcell.ir import Block, Model, to_text, verify, verify_lowerable
from stepcell.ir.files import dump_model, dump_qmodel, source_to_json
from stepcell.ir.model import Source
from stepcell.ir.qtext import qmodel_to_text
from stepcell.ir.sequences import Sequences, load_sequences
from stepcell.lower import lower
from stepcell.lower.block import preferred_block
from stepcell.lower.fit import check_fit
from stepcell.lower.formats import Optimize
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations, Weights
from stepcell.target import resolve_target


@dataclass(frozen=True)
class Options:
    """How to compile: what the command line's options say."""

    target: str = "cortex-m4"
    name: str | None = None
    density: float = 1.0
    block: Block | None = None
    """None: the one that the core runs fastest."""
    activations: Activations = "int8"
    percentile: float = 100.0
    weights: Weights = "int8"
    optimize: Optimize = "size"
    format: str | None = None
    delta: int | None = None
    """How far int8 inputs and views may drift before recurrent layers take them in; None: not at all."""
    dump_ir: Path | None = None
    command: str = ""


@dataclass(frozen=True, eq=False)
class Original:
    """What the user trained, as ONNX: the judge of everything that comes after."""

    onnx: bytes
    source: Source


OnStage = Callable[[str], None]


def compile_file(
    spec: str,
    calibration: Path,
    folder: Path,
    options: Options,
    on_stage: OnStage = lambda _: None,
    **import_options: object,
) -> Path:
    """Compile a model file (or `factory.py:function`) to a bundle in `folder`.

    calibration: .npz of real inputs. import_options go to `import_model`.
    Raises StepcellError for every mistake in what was given; `folder` then stays as it was.
    """
    resolve_target(options.target)
    check_output(folder)
    on_stage("import")
    model = import_model(spec, name=options.name, **import_options)  # type: ignore[arg-type]
    data = load_sequences(calibration, model.main.inputs)
    return compile_model(model, original_of(model, spec), data, folder, options, on_stage)


def compile_model(
    model: Model,
    original: Original,
    calibration: Sequences,
    folder: Path,
    options: Options,
    on_stage: OnStage = lambda _: None,
) -> Path:
    """Compile a Model, which may have been compressed since it was imported from `original`."""
    core, board = resolve_target(options.target)
    _check_delta(options)
    check_name(model.name)
    check_output(folder)
    model = verify_lowerable(verify(model))
    _dump(options, "01_import", to_text(model))
    if options.density < 1.0:
        on_stage("prune")
        model = verify(prune(model, density=options.density, block=options.block or preferred_block(core)))
        _dump(options, "02_prune", to_text(model))
    on_stage("quantize")
    qmodel = quantize(
        model, calibration, options.activations, options.percentile, options.weights, options.delta
    )
    _dump(options, "03_quantize", qmodel_to_text(qmodel))
    on_stage("lower")
    about = banner(original.source, model, options.target, options.activations, options.command)
    plan = lower(qmodel, core, about, options.optimize, options.format)
    if board is not None:
        check_fit(plan, board)
    on_stage("emit")
    files = {
        "onnx/source.onnx": original.onnx,
        "onnx/float.onnx": export_float(model).SerializeToString(deterministic=True),
        "onnx/float.npz": dump_model(replace(model, source=None)),
        "onnx/integer.onnx": export_integer(qmodel).SerializeToString(deterministic=True),
        "onnx/integer.npz": dump_qmodel(qmodel),
    }
    facts = {"target": options.target, "source": source_to_json(original.source)}
    try:
        return emit(plan, folder, files, facts)
    except OSError as error:
        raise unwritable(folder, error) from error


def _check_delta(options: Options) -> None:
    """Delta stores matrices in its own way, whole, which pruning would not make smaller or faster."""
    if options.delta is None:
        return
    if options.format is not None or options.density < 1.0:
        given = "--density" if options.format is None else "--format"
        raise StepcellError(
            f"{given} does not go with --delta, which stores every column of a matrix.",
            "leave out one of the two.",
        )


def original_of(model: Model, spec: str) -> Original:
    """The source itself if it is ONNX, its external data inside; else the imported Model's own export.

    That export was proven equal to the source to 1e-5 on import.
    """
    assert model.source is not None
    if model.source.kind == "onnx":
        return Original(_with_external_data(Path(spec)), model.source)
    content = export_float(model).SerializeToString(deterministic=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{model.name}.onnx"
        path.write_bytes(content)
        exported = import_onnx(path, name=model.name)
    assert exported.source is not None
    return Original(content, replace(exported.source, file=model.source.file, sha256=model.source.sha256))


def _with_external_data(path: Path) -> bytes:
    """The file as it is; with its weights read into it if they lie beside it."""
    content = path.read_bytes()
    tensors = parse(content, path.name).graph.initializer
    if all(tensor.data_location == TensorProto.DEFAULT for tensor in tensors):
        return content
    whole: bytes = read_model(path)[0].SerializeToString(deterministic=True)
    return whole


def _dump(options: Options, name: str, text: str) -> None:
    if options.dump_ir is not None:
        try:
            options.dump_ir.mkdir(parents=True, exist_ok=True)
            (options.dump_ir / f"{name}.txt").write_text(text)
        except OSError as error:
            raise unwritable(options.dump_ir, error) from error
