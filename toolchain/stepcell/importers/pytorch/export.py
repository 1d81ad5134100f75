"""From a module to an ExportedProgram, and from PyTorch's complaints to sentences that say what to do."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from stepcell.errors import StepcellError
from stepcell.importers.pytorch.aten import IGNORED, TRANSLATORS
from stepcell.reference.source_layout import first_line

_REASONS = (
    (
        ("data-dependent", "DataDependent", "Could not guard", "Could not extract specialized"),
        "its forward() decides by the values of its data, and so has no fixed graph",
        "replace `if tensor:` and .item() by arithmetic (torch.where, clamp), or export the branch taken.",
    ),
    (
        ("numpy", "torch_numpy"),
        "its forward() leaves PyTorch for numpy",
        "compute with tensors only.",
    ),
)
"""(words in PyTorch's message, what is wrong, what to do)."""


def exported(module: Any, examples: tuple[Any, ...], file: str) -> Any:
    """The module's ExportedProgram on the examples, taken apart as far as importing needs.

    Raises StepcellError with one sentence for everything that torch.export refuses.
    """
    import torch

    _check_runs(module, examples, file)
    try:
        with quiet():
            return taken_apart(torch.export.export(module, examples))
    except Exception as error:
        raise _refusal(file, error) from error


def _check_runs(module: Any, examples: tuple[Any, ...], file: str) -> None:
    import torch
    from torch.utils import _pytree

    try:
        with torch.no_grad(), quiet():
            copy.deepcopy(module)(*examples)
    except Exception as error:
        shapes = ", ".join(str(list(leaf.shape)) for leaf in _pytree.tree_leaves(examples))
        raise StepcellError(
            f"{file}: forward() does not run on inputs of shape {shapes}{_where(error)}: {first_line(error)}",
            "give the shapes that it takes: --shape x=1,T,40, and int at the end for tokens.",
        ) from error


def taken_apart(program: Any) -> Any:
    """The program with every operation that the importer does not know in terms of simpler ones.

    PyTorch's own table would also unroll every recurrent layer.
    """
    from torch.export import default_decompositions

    known = TRANSLATORS.keys() | IGNORED
    with quiet():
        table = default_decompositions()
        for operation in [found for found in table if str(found) in known]:
            del table[operation]
        return program.run_decompositions(table)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence: PyTorch warns about its own recurrent layers, and prints graphs that it cannot trace."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _refusal(file: str, error: Exception) -> StepcellError:
    text = f"{type(error).__name__} {error}"
    if _packs(error):
        return StepcellError(
            f"{file}: torch.export cannot trace it, as forward() packs sequences (pack_padded_sequence).",
            "run the recurrent layer on the padded batch; stepcell stops every sequence at its length.",
        )
    for words, what, hint in _REASONS:
        if any(word in text for word in words):
            return StepcellError(f"{file}: {what}{_where(error)}.", hint)
    return StepcellError(
        f"{file}: torch.export cannot trace it{_where(error)}: {first_line(error)}",
        "build it of recurrent layers, convolutions, nn.Linear and activations, on tensors alone.",
    )


def _packs(error: Exception) -> bool:
    """Whether tracing failed in packing or unpacking, or in a layer that read a packed sequence."""
    import traceback

    from torch.nn.utils.rnn import PackedSequence

    for frame, _ in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename.replace("\\", "/")
        if file.endswith("nn/utils/rnn.py"):
            return True
        layer = file.endswith("nn/modules/rnn.py")
        if layer and any(isinstance(value, PackedSequence) for value in frame.f_locals.values()):
            return True
    return False


def _where(error: Exception) -> str:
    """The line of the user's code where tracing failed."""
    for file, line, code in reversed(_frames(error)):
        if "site-packages" not in file and "/torch/" not in file and "stepcell/importers" not in file:
            return f" (line {line} of {file.rpartition('/')[2]}: {code})" if code else ""
    return ""


def _frames(error: Exception) -> list[tuple[str, int, str]]:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return [(frame.filename, frame.lineno or 0, frame.line or "") for frame in frames]
