"""Keras import: `.keras` and `.h5` files, by their configuration and weights, without TensorFlow."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stepcell.importers.keras.archive import read_keras
from stepcell.importers.keras.translate import to_graph
from stepcell.importers.lift import lift_graph
from stepcell.importers.names import model_name
from stepcell.ir import Model

UNCHECKED = "nothing: a Keras file runs in TensorFlow only; give recorded outputs with --expect"


def import_keras(
    path: Path | str,
    name: str | None = None,
    states: Mapping[str, str] | None = None,
    max_steps: int | None = None,
) -> Model:
    """The Model of a Keras file; states and max_steps: see `import_onnx`.

    Nothing here runs it, so recorded outputs (`--expect`) are the only check; `Source.judge` says so.

    Raises StepcellError for anything that cannot be imported exactly.
    """
    path = Path(path)
    graph = replace(to_graph(read_keras(path)), max_steps=max_steps)
    model = lift_graph(graph, model_name(name, path.stem), states)
    assert model.source is not None
    return replace(model, source=replace(model.source, judge=UNCHECKED))


__all__ = ["import_keras"]
