"""Make the small TensorFlow Lite files of tests/fixtures/tflite, with recorded inputs and outputs.

    python3 -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0 ai-edge-litert==2.3.0
    tf/bin/python scripts/make_tflite_fixtures.py tests/fixtures/tflite

Offline and seeded. tf_keras (Keras 2) converts to the fused LSTM, Keras 3 to WHILE loops or unrolled cells;
an environment variable decides which of the two TensorFlow loads, so each runs in a process of its own. Every
network is trained for a few seconds on a made-up task (which of three waves is it?), so that its labels mean
something. NAME.npz holds `x` and `y`, what the interpreter computes, both as the file stores them; of int8
files also `logits`, what its last softmax reads.
"""

import tempfile
from functools import partial
from pathlib import Path

from keras_versions import run_versions

STEPS, FEATURES, CLASSES = 8, 4, 3
FLAVOURS = {"legacy": "1", "keras3": "0"}


def main() -> None:
    """Run both flavours, each in its own process."""
    run_versions(__file__, FLAVOURS, make)


def waves(count, seed):
    """x [count, STEPS, FEATURES] and its class: three waves of random phase under noise."""
    import numpy as np

    random = np.random.default_rng(seed)
    y = random.integers(0, CLASSES, count)
    t = np.arange(STEPS)[None, :, None] + random.uniform(0, 6, (count, 1, 1))
    mix = np.array([[1.0, -0.5, 0.3, 0.8], [-0.7, 1.0, 0.5, 0.2], [0.4, 0.6, -1.0, 0.5]])
    x = np.sin(t * (0.4 + 0.5 * y[:, None, None])) * mix[y][:, None] + 0.3 * random.standard_normal(
        (count, STEPS, FEATURES)
    )
    return x.astype(np.float32), y


def make(folder: Path, flavour: str) -> None:
    """Train, convert and record every network of one flavour."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    layers = tf.keras.layers
    for name, stack, kinds in NETWORKS[flavour](layers):
        tf.keras.utils.set_random_seed(7)
        model = tf.keras.Sequential([layers.Input((STEPS, FEATURES)), *stack])
        x, y = waves(600, 1)
        model.compile(tf.keras.optimizers.Adam(0.02), loss_of(model))
        if len(model.output_shape) == 3:
            y = y[:, None].repeat(STEPS, axis=1)
        model.fit(x, y, epochs=12, batch_size=50, verbose=0)
        for kind in kinds:
            content = convert(tf, model, kind, flavour, x)
            record(folder / f"{name}_{kind}", content, waves(64, 2)[0])


def loss_of(model):
    """Of probabilities (softmax, or a sigmoid for each class), or of logits."""
    import tensorflow as tf

    activation = model.layers[-1].get_config().get("activation")
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=activation == "linear")


def probabilities(layers):
    """One of each class."""
    return layers.Dense(CLASSES, activation="softmax")


def networks_of_keras2(layers):
    """(name, layers, what to convert to)."""
    head = partial(probabilities, layers)
    return [
        ("lstm", [layers.LSTM(8), head()], ("float", "int8", "hybrid")),
        ("lstm_sigmoid", [layers.LSTM(6), layers.Dense(CLASSES, activation="sigmoid")], ("int8",)),
        ("lstm_stacked", [layers.LSTM(8, return_sequences=True), layers.LSTM(6), head()], ("float", "int8")),
        ("lstm_steps", [layers.LSTM(8, return_sequences=True), layers.Dense(CLASSES)], ("float", "int8")),
        (
            "lstm_head",
            [layers.LSTM(8), layers.Dense(6, activation="relu"), layers.Dense(CLASSES)],
            ("float", "int8"),
        ),
        ("bilstm", [layers.Bidirectional(layers.LSTM(6)), head()], ("float", "int8")),
        (
            "bilstm_steps",
            [layers.Bidirectional(layers.LSTM(5, return_sequences=True)), layers.Dense(CLASSES)],
            ("float",),
        ),
        (
            "conv_lstm",
            [layers.Conv1D(6, 3, padding="causal", activation="relu"), layers.LSTM(6), head()],
            ("float",),
        ),
        ("gru", [layers.GRU(6), head()], ("float",)),
        # The converter leaves weights of fewer than 1,024 elements as they are.
        ("gru_wide", [layers.GRU(20), head()], ("dynamic",)),
        ("rnn", [layers.SimpleRNN(6), head()], ("float",)),
    ]


def networks_of_keras3(layers):
    """(name, layers, what to convert to)."""
    head = partial(probabilities, layers)
    return [
        ("keras3_lstm", [layers.LSTM(6), head()], ("float",)),
        ("keras3_gru", [layers.GRU(6), head()], ("float",)),
        ("keras3_rnn", [layers.SimpleRNN(6), head()], ("float",)),
        (
            "keras3_gru_steps",
            [layers.GRU(6, return_sequences=True), layers.Dense(CLASSES)],
            ("float",),
        ),
        ("keras3_lstm_unrolled", [layers.LSTM(4, unroll=True), head()], ("float",)),
        ("keras3_gru_unrolled", [layers.GRU(4, unroll=True), head()], ("float",)),
        (
            "keras3_gru_unrolled_steps",
            [layers.GRU(3, unroll=True, return_sequences=True), layers.Dense(CLASSES)],
            ("float",),
        ),
    ]


NETWORKS = {"legacy": networks_of_keras2, "keras3": networks_of_keras3}


def convert(tf, model, kind: str, flavour: str, x) -> bytes:
    """The flatbuffer: float, dynamic-range, or all int8 with calibration on x."""
    with tempfile.TemporaryDirectory() as saved:
        if flavour == "legacy":
            run = tf.function(lambda x: model(x))  # noqa: PLW0108  # its argument gets the signature's name
            shape = tf.TensorSpec([1, STEPS, FEATURES], tf.float32, name="x")
            model.save(saved, save_format="tf", signatures=run.get_concrete_function(shape))
            converter = tf.lite.TFLiteConverter.from_saved_model(saved)
        else:
            # A free batch axis does not convert; training needed one.
            inputs = tf.keras.Input(batch_shape=(1, STEPS, FEATURES), name="x")
            converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(inputs, model(inputs)))
        if kind == "hybrid":
            return hybrid(converter.convert())
        if kind != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "int8":
            converter.representative_dataset = lambda: ([one[None]] for one in x[:100])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()


def hybrid(content: bytes) -> bytes:
    """A float file with the weights of its LSTM in int8, as the converter makes them of larger ones."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    for index in graph.operators[0].inputs[1:9]:
        tensor = graph.tensors[index]
        buffer = model.buffers[tensor.buffer]
        real = np.frombuffer(bytes(buffer.data), np.float32)
        scale = np.abs(real).max() / 127
        buffer.data = np.frombuffer(np.round(real / scale).astype(np.int8).tobytes(), np.uint8)
        tensor.type = schema.TensorType.INT8
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [float(scale)], [0]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def record(path: Path, content: bytes, x) -> None:
    """Write NAME.tflite and NAME.npz."""
    import numpy as np

    path.with_suffix(".tflite").write_bytes(content)
    source, output, logits = tensors_of(content)
    if source["dtype"] == np.int8:
        scale, zero = source["quantization"]
        x = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
    found = {"x": x, "y": run(content, x, source["index"], output, False)}
    if source["dtype"] == np.int8:
        found["logits"] = run(content, x, source["index"], logits, True)
    np.savez_compressed(path.with_suffix(".npz"), **found)
    print(path.name, len(content), "bytes")


def tensors_of(content: bytes):
    """The input's details, the output's index, and that of what a last softmax reads."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    output = interpreter.get_output_details()[0]["index"]
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    last = model.subgraphs[0].operators[-1]
    code = model.operatorCodes[last.opcodeIndex]
    is_softmax = max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.SOFTMAX
    return interpreter.get_input_details()[0], output, int(last.inputs[0]) if is_softmax else output


def run(content: bytes, x, source: int, wanted: int, keep: bool):
    """A tensor for every sequence, each from the initial states."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=keep)
    interpreter.allocate_tensors()
    found = []
    for one in x:
        interpreter.reset_all_variables()
        interpreter.set_tensor(source, one[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(wanted)[0].copy())
    return np.stack(found)


if __name__ == "__main__":
    main()
