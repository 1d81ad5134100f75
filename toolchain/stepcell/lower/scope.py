"""The state of lowering one generated function: where values lie, and the calls so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stepcell.ir.qmodel import QModel, QStage, QValue
from stepcell.lower.formats import Optimize
from stepcell.lower.kernels import Kernel, kernels_of
from stepcell.lower.memory import LocalArray, share_buffers
from stepcell.lower.parts import C_BYTES, Body, Call, Descriptor, Table
from stepcell.lower.ports import CTYPES, PARAMETERS
from stepcell.lower.sums import Sums
from stepcell.target.model import Core

PADDING = 4
"""Vectors that a kernel may read in blocks are padded with zeros to a multiple of this, at least."""


@dataclass(frozen=True)
class Place:
    """Where a value lies: a C expression, and how many elements of it may be read."""

    expression: str
    value: QValue
    readable: int
    ctype: str


@dataclass(frozen=True)
class Frame:
    """An input of a function, where the caller has it, at any alignment: the C parameter."""

    parameter: str
    value: QValue


@dataclass(frozen=True, eq=False)
class Shared:
    """What the functions of a bundle have in common; tables and descriptors grow as layers are lowered."""

    qmodel: QModel
    core: Core
    optimize: Optimize = "size"
    form: str | None = None
    tables: list[Table] = field(default_factory=list)
    descriptors: list[Descriptor] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    sums: list[Sums] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    shifts: set[int] = field(default_factory=set)

    @property
    def group_rows(self) -> int:
        """Rows that fill whole row groups of any kernel of the core."""
        return max(kernel.rows for kernel in kernels_of(self.core))

    @property
    def padding(self) -> int:
        """To a multiple of what vectors are padded: any kernel of the core may read them."""
        return max(PADDING, *(kernel.multiple for kernel in kernels_of(self.core)))

    def layer_name(self, kind: str) -> str:
        """gru1, gru2, dense1, ... in order of execution."""
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return f"{kind}{self.numbers[kind]}"

    def symbol(self, name: str) -> str:
        """A global C name of this bundle."""
        return f"{self.qmodel.name}_{name}"

    def shift(self, shift: int) -> str:
        """The C name of the rounding shift by `shift` bits."""
        self.shifts.add(shift)
        return self.symbol(f"by_{shift}")

    def field_name(self, name: str) -> str:
        """A new member of the state struct: `name`, or where that is taken, it with underscores."""
        taken = {state.value.name for state in self.qmodel.states} | set(self.fields)
        while name in taken:
            name += "_"
        self.fields.append(name)
        return name

    def table_name(self, name: str) -> str:
        """`name`, or where a table of another function has it, that with underscores."""
        while any(table.name == name for table in self.tables):
            name += "_"
        return name


@dataclass(frozen=True, eq=False)
class Scope:
    """One C function being lowered: a stage, or with no stage what reads the states at the end.

    `frames` are its inputs from outside by their names in the model; `reserved` all C names that are taken.
    """

    shared: Shared
    stage: QStage | None = None
    frames: Mapping[str, Frame] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset(PARAMETERS)
    places: dict[str, Place] = field(default_factory=dict)
    locals: list[LocalArray] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def pass_units(self) -> int:
        """How many units a layer computes at once, at most."""
        return self.shared.core.pass_units

    def local(self, value: QValue, name: str | None = None, ctype: str | None = None) -> Place:
        """A new local array for `value`, padded so that block kernels may read past its end."""
        count = -(-value.size // self.shared.padding) * self.shared.padding
        ctype = ctype or CTYPES[value.bits]
        return Place(self.array(name or value.name, ctype, count), value, count, ctype)

    def array(self, name: str, ctype: str, count: int) -> str:
        """A new local array: its name, which is `name` if that is free."""
        array = LocalArray(self._free_name(name), ctype, count)
        self.locals.append(array)
        return array.name

    def _free_name(self, name: str) -> str:
        """`name`, with underscores until it is neither a parameter's nor another array's."""
        while name in self.reserved or any(array.name == name for array in self.locals):
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
        unit = C_BYTES[to.ctype]
        size, padded = to.value.size * unit, to.readable * unit
        self.padded_vector(layer, "sc_copy", size, padded, to.expression, source, comment=comment)

    def padded_vector(
        self, layer: str, function: str, items: int, padded: int, *arguments: str, comment: str = ""
    ) -> None:
        """Append a call over `items` elements which fills up to `padded` with zeros."""
        work = ((function, "call", 1), (function, "item", items), (function, "zero", padded - items))
        self.call(layer, function, *arguments, items, padded, comment=comment, work=work)

    def value(self, name: str) -> QValue:
        """What is known of a value, wherever it lies."""
        return self.frames[name].value if self._is_frame(name) else self.places[name].value

    def place(self, name: str) -> Place:
        """Where a value lies, in its own type; an input is copied when something first reads it so."""
        if self._is_frame(name):
            x, local = self.frames[name].parameter, self._frame_name(name)
            self.places[name] = frame = self.local(self.value(name), local)
            self.copy(local, frame, x, comment=f"{x} may lie anywhere")
        return self.places[name]

    def anywhere(self, name: str) -> str:
        """Where int8 values lie, which need neither alignment nor padding."""
        return self.frames[name].parameter if self._is_frame(name) else self.places[name].expression

    def _is_frame(self, name: str) -> bool:
        return name not in self.places and name in self.frames

    def _frame_name(self, name: str) -> str:
        """What the copy of an input is called."""
        return "frame" if len(self.frames) == 1 else f"{self.frames[name].parameter}_frame"

    def stored(self, name: str, kernel: Kernel) -> Place:
        """The vector that a kernel reads: padded, in its type, the int8 view where it wants 8 bits."""
        value = self.value(name)
        if value.bits == 16 and kernel.input_bits == 8:
            return self.view(name, kernel.vector)
        if kernel.vector == CTYPES[value.bits]:
            return self._padded(name)
        return self._widened(name, kernel.vector)

    def view(self, name: str, ctype: str) -> Place:
        """The int8 view of an int16 value as numbers of that type, padded."""
        key = f"{name}_view_{ctype}"
        if key not in self.places:
            source = self.place(name)
            value = QValue(f"{name}_view", source.value.shape, 8, source.value.scale * 256)
            self.places[key] = place = self.local(value, ctype=ctype)
            function = f"sc_view_s{8 * C_BYTES[ctype]}"
            self.padded_vector(
                value.name, function, value.size, place.readable, place.expression, source.expression
            )
        return self.places[key]

    def _widened(self, name: str, ctype: str) -> Place:
        """A value in a wider type; int8 input is widened from where the caller has it, at any alignment."""
        key = f"{name}_{ctype}"
        if key not in self.places:
            bits = self.value(name).bits
            source = self.anywhere(name) if bits == 8 else self.place(name).expression
            local = self._frame_name(name) if self._is_frame(name) else name
            self.places[key] = place = self.local(self.value(name), local, ctype)
            function = f"sc_widen_s{bits}_s{8 * C_BYTES[ctype]}"
            size = place.value.size
            self.padded_vector(name, function, size, place.readable, place.expression, source)
        return self.places[key]

    def _padded(self, name: str) -> Place:
        """The value where a block kernel may read past its end."""
        place = self.place(name)
        if place.readable % self.shared.padding == 0:
            return place
        key = f"{name}_padded"
        if key not in self.places:
            self.places[key] = self.local(replace(place.value, name=key))
            self.copy(key, self.places[key], place.expression)
        return self.places[key]

    def snapshot(self, name: str) -> str:
        """The name of a copy of an int16 state as it is now; the layer that reads it overwrites the state."""
        key = f"{name}_snapshot"
        self.places[key] = self.like(name, key)
        self.copy(key, self.places[key], self.places[name].expression)
        return key

    def like(self, name: str, key: str) -> Place:
        """A new local array called `key` for a value of the kind of another."""
        self.places[key] = self.local(replace(self.value(name), name=key))
        return self.places[key]

    def body(self) -> Body:
        """The finished function, its arrays shared where their lifetimes allow it."""
        buffers, calls = share_buffers(self.locals, self.calls)
        return Body(buffers, calls)
