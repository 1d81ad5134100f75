"""A Model's parameters in torch, with masks that no optimizer can get around."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from stepcell.ir.model import Block, BoolArray, FloatArray, Mask, Model, all_ops
from stepcell.ir.ops import Constant


class MaskedWeights(nn.Module):
    """Ordinary float32 parameters; calling it gives what the operations see: masked ones times their masks.

    A masked weight gets no gradient and is zero whatever momentum does to its parameter.
    The parameters of `Constant` operations require no gradient: they are arithmetic, not training.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        frozen = {op.weights for op in all_ops(model) if isinstance(op, Constant)}
        self._keys = _keys(model)
        self._blocks: dict[str, Block] = {}
        self.values = nn.ParameterDict(
            {
                key: nn.Parameter(torch.tensor(model.weights[name], dtype=torch.float32), name not in frozen)
                for name, key in self._keys.items()
            }
        )
        self.keep = nn.Module()
        for name, mask in model.masks.items():
            self.set_mask(name, mask)

    def forward(self) -> dict[str, Tensor]:
        """Every parameter by its name in the Model."""
        keep = dict(self.keep.named_buffers())
        values = {name: (key, self.values[key]) for name, key in self._keys.items()}
        return {name: value * keep[key] if key in keep else value for name, (key, value) in values.items()}

    def parameter(self, name: str) -> nn.Parameter:
        """What the optimizer moves, by its name in the Model."""
        return cast(nn.Parameter, self.values[self._keys[name]])

    def set_mask(self, name: str, mask: Mask) -> None:
        """Mask a parameter from now on, and set what the mask prunes to zero."""
        value = self.values[self._keys[name]]
        keep = torch.tensor(mask.keep, dtype=value.dtype, device=value.device)
        self.keep.register_buffer(self._keys[name], keep)
        self._blocks[name] = mask.block
        with torch.no_grad():
            value.mul_(keep)

    def masks(self) -> dict[str, Mask]:
        """The masks by the name of their parameter; the buffers count, which a state_dict may have loaded."""
        keep = dict(self.keep.named_buffers())
        found = {name: keep[self._keys[name]].cpu().numpy() != 0 for name in self._blocks}
        return {name: Mask(cast(BoolArray, found[name]), block) for name, block in self._blocks.items()}


def to_array(weight: Tensor) -> FloatArray:
    """The tensor's numbers as float64, which holds every float32 exactly."""
    return weight.detach().cpu().numpy().astype(np.float64)


def _keys(model: Model) -> dict[str, str]:
    """A name that torch allows (without dots) for each parameter of the Model."""
    keys: dict[str, str] = {}
    for name in model.weights:
        key = name.replace(".", "/") or "_"
        while key in keys.values():
            key += "_"
        keys[name] = key
    return keys
