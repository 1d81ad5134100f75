"""Functions and layers of one model may share weights: what is packed alike for several is stored once."""

from dataclasses import replace

from stepcell.lower.parts import Body, Call, Descriptor, Table
from stepcell.lower.plan import FunctionPlan, Plan


def share_tables(plan: Plan) -> Plan:
    """The plan with one of each set of equal tables and equal descriptors."""
    tables = _same([(table.name, _contents(table)) for table in plan.tables])
    descriptors = [_renamed(descriptor, tables) for descriptor in plan.descriptors]
    layers = _same([(d.name, replace(d, name="")) for d in descriptors])
    names = {f"{plan.name}_{old}": f"{plan.name}_{new}" for old, new in tables.items()}
    names |= {f"&{plan.name}_{old}": f"&{plan.name}_{new}" for old, new in layers.items()}
    return replace(
        plan,
        tables=tuple(table for table in plan.tables if tables[table.name] == table.name),
        descriptors=tuple(d for d in descriptors if layers[d.name] == d.name),
        functions=tuple(_function(function, names) for function in plan.functions),
    )


def _same(items: list[tuple[str, object]]) -> dict[str, str]:
    """Each name -> the first with equal contents."""
    first: dict[object, str] = {}
    return {name: first.setdefault(contents, name) for name, contents in items}


def _contents(table: Table) -> tuple[str, bytes]:
    return table.ctype, table.values.tobytes()


def _renamed(descriptor: Descriptor, tables: dict[str, str]) -> Descriptor:
    matrices = tuple(
        replace(
            matrix,
            weights=tables[matrix.weights],
            columns=None if matrix.columns is None else tables[matrix.columns],
            start=None if matrix.start is None else tables[matrix.start],
        )
        for matrix in descriptor.matrices
    )
    others = tuple((field, tables[table]) for field, table in descriptor.tables)
    return replace(descriptor, matrices=matrices, tables=others)


def _function(function: FunctionPlan, names: dict[str, str]) -> FunctionPlan:
    stages = tuple(replace(stage, body=_body(stage.body, names)) for stage in function.stages)
    read = None if function.read is None else _body(function.read, names)
    return replace(function, stages=stages, read=read)


def _body(body: Body, names: dict[str, str]) -> Body:
    return replace(body, calls=tuple(_call(call, names) for call in body.calls))


def _call(call: Call, names: dict[str, str]) -> Call:
    return replace(call, arguments=tuple(names.get(argument, argument) for argument in call.arguments))
