"""`.pt2`: programs that torch.export.save wrote, weights inside."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepcell.errors import StepcellError
from stepcell.importers.names import model_name
from stepcell.importers.pytorch import checked
from stepcell.importers.pytorch.archive import check_archive
from stepcell.importers.pytorch.export import quiet, taken_apart
from stepcell.importers.pytorch.translate import to_graph
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.reference.source_layout import first_line

_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def import_program(
    path: Path,
    name: str | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
    max_steps: int | None = None,
) -> Model:
    """The Model of an exported program, checked against the program to 1e-5 at the sizes that it runs.

    Nothing in the file is unpickled. states and max_steps: see `import_torch`.

    Raises StepcellError for a file that is no exported program, and for what cannot be imported exactly.
    """
    if not path.is_file():
        raise StepcellError(f"{path}: there is no such file.", "check the path.")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    check_archive(path)
    program = _loaded(path)
    traced = to_graph(taken_apart(program), path.name, sha256).bounded(max_steps)
    arguments, keywords = _examples(program)
    return checked(
        program.module(),
        traced,
        arguments,
        model_name(name, path.stem),
        calibration,
        states,
        frozen=True,
        keywords=keywords,
    )


def _loaded(path: Path) -> Any:
    """The program; PyTorch may not fall back to unpickling its example inputs."""
    import torch

    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        with quiet():
            return torch.export.load(path)
    except Exception as error:
        raise StepcellError(
            f"{path.name}: this PyTorch ({torch.__version__}) does not load it: {first_line(error)}",
            "export it again with the PyTorch that is installed here.",
        ) from error
    finally:
        if before is None:
            del os.environ[_WEIGHTS_ONLY]
        else:
            os.environ[_WEIGHTS_ONLY] = before


def _examples(program: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Zeros in the structure that the program takes: positional and keyword arguments."""
    import torch
    from torch.utils import _pytree

    wanted = set(program.graph_signature.user_inputs)
    inputs = (node for node in program.graph.nodes if node.op == "placeholder")
    found = (node.meta["val"] for node in inputs if node.name in wanted)
    leaves = [
        torch.zeros([n if isinstance(n, int) else int(n.node.hint) for n in one.shape], dtype=one.dtype)
        for one in found
    ]
    arguments, keywords = _pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return tuple(arguments), keywords
