"""The whole tool on one screen: source -> Model -> compressed Model -> QModel -> Plan -> C."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from onnx import ModelProto, TensorProto

from stepcell.compress import prune, round_to_data
from stepcell.emit import emit
from stepcell.emit.banner import banner
from stepcell.emit.output import check_name, check_output, unwritable
from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.exporters.integer_onnx import export_integer
from stepcell.importers import import_model
from stepcell.importers.compressed import originals_of
from stepcell.importers.onnx.load import parse, read_model
from stepcell.ir import Block, Model, to_text, verify, verify_lowerable
from stepcell.ir.files import dump_model, dump_qmodel, source_to_json
from stepcell.ir.memory import most_steps
from stepcell.ir.model import Source, all_ops
from stepcell.ir.qtext import qmodel_to_text
from stepcell.ir.sequences import Sequences, by_function, load_sequences_for
from stepcell.lower import lower
from stepcell.lower.block import preferred_block
from stepcell.lower.fit import check_fit
from stepcell.lower.formats import Optimize
from stepcell.lower.lower import check_max_steps
from stepcell.quantize import quantize
from stepcell.quantize.calibrators import Calibrator
from stepcell.quantize.context import Activations, WeightChoice, Weights
from stepcell.target import resolve_target
from stepcell.validate.source_integers import check_source_integers


@dataclass(frozen=True)
class Options:
    """How to compile: what the command line's options say."""

    target: str = "cortex-m4"
    name: str | None = None
    density: float = 1.0
    block: Block | None = None
    """None: the one that the core runs fastest."""
    activations: Activations = "auto"
    percentile: float = 100.0
    calibrator: Calibrator = "minmax"
    """What chooses how much of calibration's magnitudes a scale covers."""
    bias_correction: bool = False
    """Biases take in the mean error of their rows over the calibration data."""
    weights: WeightChoice = "int8"
    rounding: Literal["nearest", "data"] = "nearest"
    """Of weights: each to the nearest integer, or all of a row so that its sums over the data stay right."""
    optimize: Optimize = "size"
    format: str | None = None
    delta: int | None = None
    """How far int8 inputs and views may drift before recurrent layers take them in; None: not at all."""
    max_steps: int | None = None
    """Longest sequence of functions that read whole ones; None for models without."""
    dump_ir: Path | None = None
    command: str = ""


@dataclass(frozen=True, eq=False)
class Original:
    """What the user trained, as ONNX: the judge of everything that comes after.

    `onnx` is the user's own file where `source` says so, else the model's float export of each function.
    """

    onnx: Mapping[str, bytes]
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
    model = import_model(spec, name=options.name, max_steps=options.max_steps, **import_options)  # type: ignore[arg-type]
    data = load_sequences_for(calibration, model.functions)
    kept = bool(model.quantized) and options.density == 1.0
    return compile_model(
        model, original_of(model, spec), data, folder, options, on_stage, Path(spec) if kept else None
    )


def compile_model(
    model: Model,
    original: Original,
    calibration: Sequences,
    folder: Path,
    options: Options,
    on_stage: OnStage = lambda _: None,
    quantized: Path | None = None,
) -> Path:
    """Compile a Model, which may have been compressed since it was imported from `original`.

    quantized: a file whose own integers the QModel has to compute; checked where its interpreter is there.
    """
    core, board = resolve_target(options.target)
    _check_delta(options, model)
    _check_max_steps(options, model, calibration)
    check_name(model.name)
    check_output(folder)
    model = verify_lowerable(verify(model))
    _dump(options, "01_import", to_text(model))
    if options.density < 1.0:
        on_stage("prune")
        removed = 1.0 - options.density
        model = verify(prune(model, removed, pattern=options.block or preferred_block(core)))
        _dump(options, "02_prune", to_text(model))
    if options.rounding == "data":
        model = round_to_data(model, calibration, _rounded_to(options))
    on_stage("quantize")
    qmodel = quantize(
        model,
        calibration,
        options.activations,
        options.percentile,
        options.weights,
        options.delta,
        calibrator=options.calibrator,
        bias_correction=options.bias_correction,
    )
    if quantized is not None:
        check_source_integers(qmodel, quantized)
    _dump(options, "03_quantize", qmodel_to_text(qmodel))
    on_stage("lower")
    about = banner(
        original.source, model, options.target, options.weights, options.activations, options.command
    )
    plan = lower(qmodel, core, about, options.optimize, options.format, options.max_steps)
    if board is not None:
        check_fit(plan, board)
    on_stage("emit")
    integers = {f.name: _bytes(export_integer(qmodel, f.name)) for f in qmodel.functions}
    files = {
        **{f"onnx/source{suffix}.onnx": content for suffix, content in _by_suffix(original.onnx).items()},
        **{f"onnx/float{suffix}.onnx": content for suffix, content in _by_suffix(_exports(model)).items()},
        "onnx/float.npz": dump_model(replace(model, source=None)),
        **{f"onnx/integer{suffix}.onnx": content for suffix, content in _by_suffix(integers).items()},
        "onnx/integer.npz": dump_qmodel(qmodel),
    }
    facts = {"target": options.target, "source": source_to_json(original.source)}
    try:
        return emit(plan, folder, files, facts)
    except OSError as error:
        raise unwritable(folder, error) from error


def _by_suffix(by_function: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of a kind have the function's name where there are several."""
    if len(by_function) == 1:
        return dict.fromkeys([""], *by_function.values())
    return {f"_{name}": content for name, content in by_function.items()}


def _exports(model: Model) -> dict[str, bytes]:
    """The float ONNX of every function."""
    return {function.name: _bytes(export_float(model, function.name)) for function in model.functions}


def _bytes(proto: ModelProto) -> bytes:
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _check_max_steps(options: Options, model: Model, calibration: Sequences) -> None:
    """Functions that read whole sequences need to know how long those are; steps run for ever.

    A memory of every step bounds either.
    """
    rows = most_steps(all_ops(model))
    if rows is not None and (options.max_steps or 0) > rows:
        raise StepcellError(
            f"--max-steps {options.max_steps}: the memories of {model.name} have {rows} rows.",
            "import the model with as many max_steps.",
        )
    fed = by_function(model.functions, calibration)
    whole = [function for function in model.functions if not function.is_step]
    if not whole:
        if options.max_steps is not None and rows is None:
            raise StepcellError(
                f"--max-steps {options.max_steps}: {model.name} is causal, and runs any number of steps.",
                "leave it out.",
            )
        return
    longest = max(int(fed[f.name].lengths.max()) // f.frames_per_step for f in whole)
    check_max_steps(model, options.max_steps, longest)


def _rounded_to(options: Options) -> Weights:
    """Rounding by data has to know what each matrix will hold."""
    if options.weights == "auto":
        raise StepcellError(
            "--rounding data does not go with --weight-bits auto, which has to try what rounding costs.",
            "choose 4 or 8 bits, or leave --rounding out.",
        )
    return options.weights


def _check_delta(options: Options, model: Model) -> None:
    """Delta stores matrices in its own way, whole, which pruning would not make smaller or faster."""
    if options.delta is None:
        return
    if len(model.functions) > 1:
        raise StepcellError(
            f"{model.name} has {len(model.functions)} functions, and what --delta keeps belongs to one.",
            "leave --delta out.",
        )
    if options.format is not None or options.density < 1.0:
        given = "--density" if options.format is None else "--format"
        raise StepcellError(
            f"{given} does not go with --delta, which stores every column of a matrix.",
            "leave out one of the two.",
        )


def original_of(model: Model, spec: str) -> Original:
    """The source itself if it is ONNX, its external data inside; else the imported Model's own export.

    That export was proven equal to the source to 1e-5 on import. A compressed model's file keeps its own.
    """
    assert model.source is not None
    if spec.endswith(".npz"):
        return Original(originals_of(Path(spec)), model.source)
    if model.source.kind == "onnx":
        return Original({model.main.name: _with_external_data(Path(spec))}, model.source)
    return Original(_exports(model), model.source)


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
