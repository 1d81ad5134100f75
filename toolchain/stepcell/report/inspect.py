"""What `stepcell inspect` says of a model: its step function, sizes, and whether this version lowers it."""

from dataclasses import dataclass
from typing import Any

from stepcell.errors import StepcellError
from stepcell.ir import Model, macs_at_end, macs_per_step, parameter_count, to_text, verify_lowerable


@dataclass(frozen=True)
class Inspection:
    """`unsupported` is why this version cannot turn the model into C, or None."""

    model: Model
    unsupported: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.model.name,
            "parameters": parameter_count(self.model),
            "macs_per_step": macs_per_step(self.model),
            "macs_at_end": macs_at_end(self.model),
            "state_values": sum(state.initial.size for state in self.model.states),
            "supported": self.unsupported is None,
            "unsupported": self.unsupported,
            "text": to_text(self.model),
        }


def inspect(model: Model) -> Inspection:
    """Describe an imported model."""
    try:
        verify_lowerable(model)
    except StepcellError as refusal:
        return Inspection(model, refusal.message)
    return Inspection(model, None)
