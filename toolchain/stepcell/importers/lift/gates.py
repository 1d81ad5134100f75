"""What an LSTM, GRU or RNN node says about its gates: activations with their parameters, and clip."""

from collections.abc import Iterator, Sequence
from math import isfinite

from stepcell.importers.graph import Node, Unsupported
from stepcell.ir.gates import ALPHAS, BETAS, FUNCTIONS
from stepcell.ir.ops import RELU, SIGMOID, TANH, Gate

_DEFAULT = {"LSTM": (SIGMOID, TANH, TANH), "GRU": (SIGMOID, TANH), "RNN": (TANH,)}
_PLAIN = {gate.function: gate for gate in (SIGMOID, TANH, RELU)}
_NAMES = {name.lower(): name for name in FUNCTIONS}


def activations(node: Node, directions: int) -> list[tuple[Gate, ...]]:
    """The gates' activations in each direction.

    alphas and betas are consumed in the order of the activations, by those that take one, as ONNX says and
    ONNX Runtime does. (onnx's ReferenceEvaluator looks them up by the activation's position.)
    """
    default = _DEFAULT[node.op]
    each = len(default)
    names = [str(name) for name in node.attributes.get("activations") or ()]
    if not names:
        return [default] * directions
    if node.op == "RNN":
        names = names[:directions]  # its default in ONNX's schema is two names even for one direction
    if len(names) != each * directions:
        raise Unsupported(
            f"has {len(names)} activations; {each * directions} are allowed ({each} a direction)",
            "check the file.",
        )
    alphas, betas = (_numbers(node, f"activation_{kind}") for kind in ("alpha", "beta"))
    gates = [_gate(name, alphas, betas) for name in names]
    return [tuple(gates[d * each : (d + 1) * each]) for d in range(directions)]


def _numbers(node: Node, key: str) -> Iterator[float]:
    given: Sequence[float] = node.attributes.get(key) or ()
    numbers = [float(number) for number in given]
    if not all(isfinite(number) for number in numbers):
        raise Unsupported(f"has an {key} that is NaN or infinite", "check the file.")
    return iter(numbers)


def _gate(given: str, alphas: Iterator[float], betas: Iterator[float]) -> Gate:
    name = _NAMES.get(given.lower())
    if name is None:
        allowed = ", ".join(FUNCTIONS)
        raise Unsupported(f"has the activation {given}; {allowed} are allowed", "train with one of those.")
    if name in _PLAIN:
        return _PLAIN[name]
    alpha = _parameter(name, "alpha", ALPHAS, alphas) if name in ALPHAS else None
    beta = _parameter(name, "beta", BETAS, betas) if name in BETAS else None
    return Gate(name, alpha, beta)


def _parameter(name: str, kind: str, defaults: dict[str, float | None], given: Iterator[float]) -> float:
    """The next number of the list; where it has ended, the default that everybody agrees about."""
    number = next(given, defaults[name])
    if number is None:
        raise Unsupported(
            f"has the activation {name} without its activation_{kind}, about whose default ONNX (1) and ONNX "
            "Runtime (0) do not agree; an explicit one is allowed",
            f"write activation_{kind} into the node.",
        )
    return number


def clip_of(node: Node) -> float | None:
    """The limit of what goes into the gates' activations; None without one."""
    if "clip" not in node.attributes:
        return None
    clip = float(node.attributes["clip"])
    if not clip > 0:
        raise Unsupported(
            f"clips at {clip:g}; a positive limit is allowed", "leave clip out, or train with one."
        )
    return clip if isfinite(clip) else None
