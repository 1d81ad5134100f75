"""The state of lowering one generated function: where values lie, and the calls so far."""

from dataclasses import dataclass, field, replace

from stepcell.ir.qmodel import QModel, QValue
from stepcell.lower.memory import LocalArray, share_buffers
from stepcell.lower.plan import Body, Call, Descriptor, Table
from stepcell.target.model import Costs

CTYPES = {8: "int8_t", 16: "int16_t", 32: "int32_t"}
PARAMETERS = ("s", "x", "y")
"""Of the generated functions."""
PADDING = 4
"""Vectors that a kernel may read in blocks are padded with zeros to a multiple of this."""


@dataclass(frozen=True)
class Place:
    """Where a value lies: a C expression, and how many elements of it may be read."""

    expression: str
    value: QValue
    readable: int


@dataclass(frozen=True, eq=False)
class Shared:
    """What the functions of a bundle have in common; tables and descriptors grow as layers are lowered."""

    qmodel: QModel
    costs: Costs
    tables: list[Table] = field(default_factory=list)
    descriptors: list[Descriptor] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def layer_name(self, kind: str) -> str:
        """gru1, gru2, dense1, ... in order of execution."""
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return f"{kind}{self.numbers[kind]}"

    def symbol(self, name: str) -> str:
        """A global C name of this bundle."""
        return f"{self.qmodel.name}_{name}"


@dataclass(frozen=True, eq=False)
class Scope:
    """One function being lowered."""

    shared: Shared
    places: dict[str, Place] = field(default_factory=dict)
    locals: list[LocalArray] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def local(self, value: QValue, name: str | None = None) -> Place:
        """A new local array for `value`, padded so that block kernels may read past its end."""
        count = -(-value.size // PADDING) * PADDING
        array = LocalArray(self._free_name(name or value.name), CTYPES[value.bits], count)
        self.locals.append(array)
        return Place(array.name, value, count)

    def _free_name(self, name: str) -> str:
        """`name`, with underscores until it is neither a parameter's nor another array's."""
        while name in PARAMETERS or any(array.name == name for array in self.locals):
            name += "_"
        return name

    def call(self, layer: str, function: str, *arguments: str | int, **more: object) -> None:
        """Append a call."""
        call = Call(layer, function, tuple(str(argument) for argument in arguments))
        self.calls.append(replace(call, **more))  # type: ignore[arg-type]

    def vector(self, layer: str, function: str, items: int, *arguments: str | int, comment: str = "") -> None:
        """Append a call that does the same to each of `items` elements."""
        work = ((function, "call", 1), (function, "item", items))
        self.call(layer, function, *arguments, comment=comment, work=work)

    def copy(self, layer: str, to: Place, source: str, comment: str = "") -> None:
        """Copy bytes from the C expression `source`, zeros into the padding."""
        unit = to.value.bits // 8
        size, padded = to.value.size * unit, to.readable * unit
        self.padded_vector(layer, "sc_copy", size, padded, to.expression, source, comment=comment)

    def padded_vector(
        self, layer: str, function: str, items: int, padded: int, *arguments: str, comment: str = ""
    ) -> None:
        """Append a call over `items` elements which fills up to `padded` with zeros."""
        work = ((function, "call", 1), (function, "item", items), (function, "zero", padded - items))
        self.call(layer, function, *arguments, items, padded, comment=comment, work=work)

    def view(self, name: str) -> Place:
        """The int8 view of an int16 value, made once."""
        key = f"{name}_view"
        if key not in self.places:
            source = self.places[name]
            value = QValue(key, source.value.shape, 8, source.value.scale * 256)
            place = self.local(value)
            self.padded_vector(
                key, "sc_view", value.size, place.readable, place.expression, source.expression
            )
            self.places[key] = place
        return self.places[key]

    def snapshot(self, name: str) -> str:
        """The name of a copy of an int16 state as it is now; the layer that reads it overwrites the state."""
        key = f"{name}_snapshot"
        self.places[key] = self.local(replace(self.places[name].value, name=key))
        self.copy(key, self.places[key], self.places[name].expression)
        return key

    def padded(self, name: str) -> Place:
        """The value where a block kernel may read past its end."""
        place = self.places[name]
        if place.readable % 2 == 0:
            return place
        key = f"{name}_padded"
        if key not in self.places:
            self.places[key] = self.local(replace(place.value, name=key))
            self.copy(key, self.places[key], place.expression)
        return self.places[key]

    def body(self) -> Body:
        """The finished function, its arrays shared where their lifetimes allow it."""
        buffers, calls = share_buffers(self.locals, self.calls)
        return Body(buffers, calls)
