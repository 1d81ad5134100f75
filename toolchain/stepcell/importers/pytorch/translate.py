"""From torch.export's graph of aten operations to a Graph of nodes with ONNX meaning."""

from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array, Graph, GraphInput
from stepcell.importers.pytorch.aten import TRANSLATORS
from stepcell.importers.pytorch.builder import Builder, Translator


def to_graph(program: Any, file: str, sha256: str) -> Graph:
    """The Graph of an ExportedProgram whose recurrent layers are whole.

    Raises StepcellError naming the first aten operation that is not allowed.
    """
    builder = Builder(file)
    known = _parameters(program)
    values: dict[str, Any] = {}
    inputs: list[GraphInput] = []
    outputs: list[str] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            values[node.name] = node.name
            if node.name in known:
                builder.constants[node.name] = known[node.name]
            else:
                inputs.append(_input(node, file))
        elif node.op == "output":
            outputs = [_read(values, item) for item in node.args[0] if item is not None]
        else:
            values[node.name] = _translate(builder, node, values, TRANSLATORS)
    return Graph(
        file, "torch", sha256, 17, tuple(inputs), tuple(outputs), tuple(builder.nodes), builder.constants
    )


def _parameters(program: Any) -> dict[str, Array]:
    signature = program.graph_signature
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    stored = {**program.constants, **program.state_dict}
    named |= signature.inputs_to_lifted_tensor_constants
    return {placeholder: stored[name].detach().cpu().numpy() for placeholder, name in named.items()}


def _input(node: Any, file: str) -> GraphInput:
    found = node.meta.get("val")
    if not hasattr(found, "shape"):
        raise StepcellError(
            f"{file}: its input '{node.name}' is not a tensor.", "take only tensors in forward()."
        )
    dtype = np.dtype(str(found.dtype).removeprefix("torch.").replace("bfloat16", "float32"))
    return GraphInput(node.name, tuple(int(size) for size in found.shape), dtype)


def _translate(
    builder: Builder, node: Any, values: dict[str, Any], translators: dict[str, Translator]
) -> Any:
    target = getattr(node.target, "__name__", "") if "built-in" in str(node.target) else str(node.target)
    args = [_read(values, item) for item in node.args]
    if target == "getitem":
        return args[0][args[1]]
    where = _where(node)
    if target not in translators:
        allowed = ", ".join(sorted({name.split(".")[1] for name in translators}))
        raise StepcellError(
            f"{builder.file}: node '{where}' ({target}) is an unsupported operation; allowed are {allowed}.",
            "build the module of nn.LSTM, nn.GRU, nn.RNN, nn.Linear and activations.",
        )
    kwargs = {key: _read(values, item) for key, item in node.kwargs.items()}
    return translators[target](builder, where, args, kwargs)


def _read(values: dict[str, Any], item: Any) -> Any:
    if isinstance(item, (list, tuple)):
        return [_read(values, part) for part in item]
    return values[item.name] if hasattr(item, "name") and hasattr(item, "op") else item


def _where(node: Any) -> str:
    """The path of the module that a node belongs to, and the node's name."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return f"{path}.{node.name}" if path else str(node.name)
