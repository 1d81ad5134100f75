"""LSTM, GRU and RNN as ONNX specifies them: the import computes what ONNX Runtime and onnx compute.

Every import is checked against ONNX Runtime on random inputs, states and lengths as it is. Here the
original node runs with its own arrays, in ONNX Runtime or in onnx's ReferenceEvaluator:

* ONNX Runtime runs no layout 1, and takes the activations of RNN by their exact spelling only.
* ReferenceEvaluator leaves clip, input_forget and sequence_lens out without a word, has no activations of
  LSTM and GRU but the defaults, and only Tanh and Affine of RNN, whose parameters it looks up by the
  activation's position, not in the order of those that take any.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurrent_files import Layer, by_interpreter, by_onnx_runtime, by_reference_evaluator, written
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.ir.gates import ALPHAS, BETAS, FUNCTIONS

OPERATORS = ("LSTM", "GRU", "RNN")
DIRECTIONS = ("forward", "reverse", "bidirectional")
PARAMETERS = {
    "Affine": (0.8, 0.1),
    "LeakyRelu": (0.3, None),
    "ThresholdedRelu": (0.4, None),
    "ScaledTanh": (0.9, 0.7),
    "HardSigmoid": (0.3, 0.4),
    "Elu": (0.6, None),
}


def agrees(layer: Layer, folder: Path, judge: Any = by_onnx_runtime) -> None:
    """The import of the layer computes what the judge does."""
    wanted = judge(layer)
    found = by_interpreter(import_onnx(written(folder, layer)), layer)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert np.allclose(found[name], array, rtol=1e-5, atol=2e-6), name


def activations(*names: str) -> dict[str, Any]:
    """The attributes that name these, with parameters for those that take any."""
    alphas = [PARAMETERS[name][0] for name in names if name in ALPHAS]
    betas = [PARAMETERS[name][1] for name in names if name in BETAS]
    found: dict[str, Any] = {"activations": list(names)}
    found |= {"activation_alpha": alphas} if alphas else {}
    return found | ({"activation_beta": betas} if betas else {})


@pytest.mark.parametrize("initial", ["none", "constant", "fed"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", OPERATORS)
def test_direction_and_initial_states(op: str, direction: str, initial: str, tmp_path: Path) -> None:
    layer = Layer(op, {"direction": direction}, initial=initial)
    agrees(layer, tmp_path)
    agrees(layer, tmp_path, by_reference_evaluator)


@pytest.mark.parametrize("opset", [7, 11, 13, 14, 17, 21, 22])
@pytest.mark.parametrize("op", OPERATORS)
def test_every_opset_that_changed_an_operator(op: str, opset: int, tmp_path: Path) -> None:
    agrees(Layer(op, {"direction": "bidirectional"}, opset=opset, lengths=(6, 1, 4)), tmp_path)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_linear_before_reset(before: int, direction: str, tmp_path: Path) -> None:
    layer = Layer("GRU", {"linear_before_reset": before, "direction": direction}, initial="fed")
    agrees(layer, tmp_path)
    agrees(layer, tmp_path, by_reference_evaluator)


@pytest.mark.parametrize("initial", ["none", "constant", "fed"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", OPERATORS)
def test_layout_1_puts_the_batch_first(op: str, direction: str, initial: str, tmp_path: Path) -> None:
    layer = Layer(op, {"layout": 1, "direction": direction}, initial=initial, peepholes=op == "LSTM")
    agrees(layer, tmp_path, by_reference_evaluator)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_peepholes(direction: str, tmp_path: Path) -> None:
    layer = Layer("LSTM", {"direction": direction}, peepholes=True, initial="fed")
    agrees(layer, tmp_path)
    agrees(layer, tmp_path, by_reference_evaluator)


@pytest.mark.parametrize("initial", ["none", "fed"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", OPERATORS)
def test_ragged_lengths_are_an_input(op: str, direction: str, initial: str, tmp_path: Path) -> None:
    """Y is zero beyond a length, Y_h and Y_c are the last valid ones, reverse begins at the last one."""
    agrees(Layer(op, {"direction": direction}, initial=initial, lengths=(2, 6, 1)), tmp_path)


@pytest.mark.parametrize("op", OPERATORS)
def test_ragged_lengths_with_layout_1(op: str, tmp_path: Path) -> None:
    """No program runs both; layout 0 gives the same numbers with the batch axis moved."""
    plain = Layer(op, {"direction": "bidirectional"}, lengths=(2, 6, 1))
    turned = Layer(op, {"direction": "bidirectional", "layout": 1}, lengths=(2, 6, 1))
    wanted = by_onnx_runtime(plain)
    found = by_interpreter(import_onnx(written(tmp_path, turned)), turned)
    order = {"Y": (2, 0, 1, 3), "Y_h": (1, 0, 2), "Y_c": (1, 0, 2)}
    for name, array in wanted.items():
        assert np.allclose(found[name], array.transpose(order[name]), rtol=1e-5, atol=2e-6), name


@pytest.mark.parametrize(
    "layer",
    [
        Layer("LSTM", {"clip": 0.5}),
        Layer("LSTM", {"clip": 0.5, "direction": "bidirectional"}, peepholes=True, initial="fed"),
        Layer("LSTM", {"clip": 0.5, "input_forget": 1}, peepholes=True),
        Layer("GRU", {"clip": 0.5}),
        Layer("GRU", {"clip": 0.5, "linear_before_reset": 1, "direction": "reverse"}),
        Layer("RNN", {"clip": 0.5}),
        Layer("RNN", {"clip": 0.5, "activations": ["Relu"]}, lengths=(3, 6, 5)),
    ],
    ids=lambda layer: f"{layer.op} {layer.attributes}",
)
def test_clip_bounds_what_goes_into_the_gates(layer: Layer, tmp_path: Path) -> None:
    """ONNX: "applied to the input of activations". ONNX Runtime leaves h(C) of LSTM out of that; so do we."""
    agrees(layer, tmp_path)


def test_clip_does_not_bound_the_cell(tmp_path: Path) -> None:
    """Cells beyond the limit tell, here after one step."""
    layer = Layer("LSTM", {"clip": 0.25}, initial="fed", scale=2.0, lengths=(1, 1, 2))
    assert np.abs(by_onnx_runtime(layer)["Y_c"]).max() > 1.5 * 0.25
    agrees(layer, tmp_path)


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_input_forget(direction: str, peepholes: bool, tmp_path: Path) -> None:
    agrees(Layer("LSTM", {"input_forget": 1, "direction": direction}, peepholes=peepholes), tmp_path)


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_of_each_gate_of_lstm(name: str, position: int, tmp_path: Path) -> None:
    names = ["Sigmoid", "Tanh", "Tanh"]
    names[position] = name
    agrees(Layer("LSTM", activations(*names), scale=0.3), tmp_path)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("position", range(2))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_of_each_gate_of_gru(name: str, position: int, before: int, tmp_path: Path) -> None:
    names = ["Sigmoid", "Tanh"]
    names[position] = name
    agrees(Layer("GRU", {"linear_before_reset": before, **activations(*names)}, scale=0.3), tmp_path)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_of_rnn(name: str, tmp_path: Path) -> None:
    agrees(Layer("RNN", activations(name), scale=0.3, initial="fed"), tmp_path)


@pytest.mark.parametrize(
    "layer",
    [
        Layer("LSTM", activations("HardSigmoid", "LeakyRelu", "Softsign", "Sigmoid", "Elu", "ScaledTanh")),
        Layer("GRU", activations("Sigmoid", "Elu", "HardSigmoid", "Tanh") | {"clip": 0.7}),
        Layer("RNN", activations("Tanh", "LeakyRelu")),
        Layer("RNN", activations("LeakyRelu", "Softplus")),
    ],
    ids=lambda layer: " ".join(layer.attributes["activations"]),
)
def test_directions_with_activations_of_their_own(layer: Layer, tmp_path: Path) -> None:
    """Parameters are consumed in order by those that take any (ReferenceEvaluator: RNN's by place)."""
    attributes = {**layer.attributes, "direction": "bidirectional"}
    agrees(Layer(layer.op, attributes, scale=0.3, peepholes=layer.op == "LSTM"), tmp_path)


@pytest.mark.parametrize("name", ["LeakyRelu", "HardSigmoid", "Elu"])
@pytest.mark.parametrize("op", OPERATORS)
def test_defaults_of_parameters(op: str, name: str, tmp_path: Path) -> None:
    names = {"LSTM": ["Sigmoid", name, "Tanh"], "GRU": ["Sigmoid", name], "RNN": [name]}[op]
    agrees(Layer(op, {"activations": names}, scale=0.3), tmp_path)


@pytest.mark.parametrize("name", ["Affine", "ScaledTanh", "ThresholdedRelu"])
def test_parameters_about_whose_default_onnx_and_onnx_runtime_differ_are_demanded(
    name: str, tmp_path: Path
) -> None:
    """ONNX's operators have 1 as the default, ONNX Runtime takes 0."""
    with pytest.raises(
        StepcellError, match=rf"\(RNN\) has the activation {name} without its activation_alpha"
    ):
        import_onnx(written(tmp_path, Layer("RNN", {"activations": [name]})))


def test_activations_are_named_in_any_case(tmp_path: Path) -> None:
    """ONNX Runtime takes them so for LSTM and GRU; for RNN, ReferenceEvaluator does."""
    agrees(Layer("LSTM", {"activations": ["sigmoid", "TANH", "hardsigmoid"]}, scale=0.3), tmp_path)
    agrees(Layer("GRU", {"activations": ["hardSigmoid", "softSIGN"]}), tmp_path)
    agrees(Layer("RNN", {"activations": ["tanh"]}), tmp_path, by_reference_evaluator)


def test_rnn_with_the_schemas_default_of_two_activations(tmp_path: Path) -> None:
    agrees(Layer("RNN", {"activations": ["Relu", "Tanh"]}, scale=0.3), tmp_path)


@pytest.mark.parametrize("outputs", [("Y",), ("Y_h",), ("Y_c",), ("Y", "Y_c"), ("Y_h", "Y_c")])
def test_any_outputs(outputs: tuple[str, ...], tmp_path: Path) -> None:
    agrees(Layer("LSTM", {"direction": "bidirectional"}, initial="fed", outputs=outputs), tmp_path)


def test_everything_at_once(tmp_path: Path) -> None:
    attributes = {
        **activations("HardSigmoid", "Softsign", "ScaledTanh", "Sigmoid", "LeakyRelu", "Elu"),
        "direction": "bidirectional",
        "clip": 0.8,
        "input_forget": 1,
    }
    agrees(Layer("LSTM", attributes, peepholes=True, initial="fed", lengths=(6, 2, 5)), tmp_path)


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (Layer("LSTM", {"activations": ["Sigmoid", "Tanh"]}), "has 2 activations; 3 are allowed"),
        (Layer("GRU", {"activations": ["Sigmoid", "Tanh"] * 2}), "has 4 activations; 2 are allowed"),
        (Layer("GRU", {"activations": ["Sigmoid", "Gelu"]}), "has the activation Gelu; Relu, Sigmoid, Tanh"),
        (Layer("LSTM", {"clip": 0.0}), "clips at 0; a positive limit"),
        (Layer("RNN", {"clip": -1.0}), "clips at -1; a positive limit"),
        (Layer("RNN", {"layout": 2}), "has layout 2"),
        (
            Layer("RNN", {"activations": ["Elu"], "activation_alpha": [float("nan")]}),
            "has an activation_alpha that is NaN",
        ),
    ],
    ids=str,
)
def test_an_attribute_that_means_nothing_is_refused(layer: Layer, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match=rf"node 'layer' \({layer.op}\) {complaint}"):
        import_onnx(written(tmp_path, layer))
