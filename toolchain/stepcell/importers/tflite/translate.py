"""From a .tflite file to a Graph of nodes with ONNX meaning; what is not in the table is refused by name."""

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder
from stepcell.importers.graph import Graph, GraphInput, Node
from stepcell.importers.tflite import elementwise, layers, loops, moves, recurrent
from stepcell.importers.tflite.schema import Operator, TensorInfo, TfliteFile
from stepcell.importers.tflite.translation import Translation, Translator

TRANSLATORS: dict[str, Translator] = {
    **recurrent.TRANSLATORS,
    **layers.TRANSLATORS,
    **elementwise.TRANSLATORS,
    **moves.TRANSLATORS,
    **loops.TRANSLATORS,
}

_MALFORMED = (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError)
"""What numpy and look-ups raise on shapes and indices that contradict each other."""


def to_graph(source: TfliteFile) -> Graph:
    """The Graph of a file's main subgraph; quantized tensors are real numbers in it.

    An operator that is not allowed becomes a refused node. Raises StepcellError for inputs and outputs that
    are not allowed.
    """
    main = source.graphs[0]
    builder = Builder(source.file)
    translation = Translation(source, main, builder)
    inputs = []
    for name, index in zip(source.inputs, main.inputs, strict=True):
        translation.names[index] = name
        inputs.append(_input(source, name, main.tensors[index]))
    for op in main.operators:
        translate_operator(translation, op)
    outputs = tuple(
        _output(translation, index, name) for index, name in zip(main.outputs, source.outputs, strict=True)
    )
    return Graph(
        source.file,
        "tflite",
        source.sha256,
        20,
        tuple(inputs),
        outputs,
        tuple(builder.nodes),
        builder.constants,
    )


def translate_operator(translation: Translation, op: Operator) -> None:
    """Append the nodes of one operator, or a refused node."""
    reads = tuple(translation.names[index] for index in op.inputs if index in translation.names)
    try:
        if _translated(translation, op, reads):
            return
        refusal = None
    except StepcellError as found:
        refusal = found
    made = translation.builder.refuse(translation.where(op), reads, len(op.outputs), refusal)
    translation.names.update(zip(op.outputs, made, strict=False))


def _translated(translation: Translation, op: Operator, reads: tuple[str, ...]) -> bool:
    """Whether the operator's nodes were appended; False where it reads what was refused."""
    if op.name not in TRANSLATORS:
        raise translation.refuse(
            op,
            "is an unsupported operator; allowed are " + ", ".join(sorted(TRANSLATORS)),
            "replace it, or export the model as ONNX.",
        )
    if translation.builder.refused.intersection(reads):
        return False
    try:
        TRANSLATORS[op.name](translation, op)
    except _MALFORMED as error:
        raise translation.refuse(op, f"is malformed: {error}", "convert the model again.") from error
    return True


def _input(source: TfliteFile, name: str, tensor: TensorInfo) -> GraphInput:
    """A free axis has a symbol; integers with a scale are real numbers."""
    if tensor.dtype is None:
        raise StepcellError(
            f"{source.file}: the input '{name}' is text, or of a type that is not allowed.", "feed numbers."
        )
    shape = tuple(f"free_{axis}" if n < 0 else n for axis, n in enumerate(tensor.signature))
    real = tensor.quantization is not None or tensor.dtype.kind == "f"
    return GraphInput(name, shape, np.dtype(np.float32) if real else tensor.dtype)


def _output(translation: Translation, index: int, name: str) -> str:
    """The output under the name of the signature, whatever node computes it."""
    found = translation.names.get(index)
    if found is None:
        raise StepcellError(
            f"{translation.source.file}: nothing computes its output '{name}'.", "convert the model again."
        )
    return _named(translation.builder, found, name)


def _named(builder: Builder, found: str, name: str) -> str:
    builder.nodes.append(Node("Identity", name, (found,), (name,)))
    return name
