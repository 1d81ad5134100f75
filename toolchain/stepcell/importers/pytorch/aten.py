"""Which aten operation is what in nodes with ONNX meaning. Nothing here needs torch.

What is not in the table is first taken apart by PyTorch's own decompositions, and refused if that leaves
something unknown.
"""

from stepcell.importers.builder import Translator
from stepcell.importers.pytorch import activations, arithmetic, attention, layers, moves, recurrent, tensors

TRANSLATORS: dict[str, Translator] = {
    **recurrent.TRANSLATORS,
    **layers.TRANSLATORS,
    **activations.TRANSLATORS,
    **arithmetic.TRANSLATORS,
    **attention.TRANSLATORS,
    **moves.TRANSLATORS,
    **tensors.TRANSLATORS,
}

IGNORED = frozenset(
    {
        "aten._assert_scalar.default",
        "aten._assert_tensor_metadata.default",
        "aten._assert_async.msg",
        "aten.sym_constrain_range.default",
        "aten.sym_constrain_range_for_size.default",
    }
)
"""What only checks."""
