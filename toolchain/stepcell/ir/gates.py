"""Activations of gates: ONNX's names and parameters for LSTM, GRU and RNN, as functions of `Activate`."""

from stepcell.ir.operators import FunctionName
from stepcell.ir.ops import Gate

FUNCTIONS: dict[str, FunctionName] = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Affine": "affine",
    "LeakyRelu": "leaky_relu",
    "ThresholdedRelu": "thresholded_relu",
    "ScaledTanh": "scaled_tanh",
    "HardSigmoid": "hard_sigmoid",
    "Elu": "elu",
    "Softsign": "softsign",
    "Softplus": "softplus",
}
"""Every activation that the operators allow, by ONNX's name."""
ALPHAS: dict[str, float | None] = {
    "Affine": None,
    "LeakyRelu": 0.01,
    "ThresholdedRelu": None,
    "ScaledTanh": None,
    "HardSigmoid": 0.2,
    "Elu": 1.0,
}
"""What takes an alpha, and its default; None where ONNX (1) and ONNX Runtime (0) do not agree about one."""
BETAS: dict[str, float | None] = {"Affine": None, "ScaledTanh": None, "HardSigmoid": 0.5}


def gate_activation(gate: Gate) -> tuple[FunctionName, float | None, float | None]:
    """(function, alpha, beta) of `Activate`; KeyError for a name that ONNX does not have."""
    alpha = ALPHAS.get(gate.function) if gate.alpha is None else gate.alpha
    beta = BETAS.get(gate.function) if gate.beta is None else gate.beta
    return FUNCTIONS[gate.function], alpha, beta
