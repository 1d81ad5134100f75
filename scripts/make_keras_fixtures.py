"""Make the small Keras files of tests/fixtures/keras, with recorded inputs and outputs.

    python3 -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0
    tf/bin/python scripts/make_keras_fixtures.py tests/fixtures/keras

Offline and seeded. Both versions of Keras write both kinds of file: NAME_k3.keras, NAME_k2.h5, and for what
the versions compute differently NAME_k2.keras and NAME_k3.h5, too. An environment variable decides which one
TensorFlow loads, so each runs in a process of its own. Weights are random, biases and batch statistics too:
all that is at stake is what the layers compute. NAME_kN_SUFFIX.npz holds `x` [N, T, F] and `y` [N, ...].
"""

import zipfile
from pathlib import Path

from keras_versions import run_versions

STEPS, FEATURES = 7, 4
VERSIONS = {"k2": "1", "k3": "0"}
HDF5 = {
    "lstm",
    "lstm_steps",
    "lstm_stacked",
    "lstm_options",
    "bilstm",
    "gru",
    "gru_reset_before",
    "functional",
}
BOTH = {"lstm_options", "bilstm"}
"""Which networks are also written as .h5 (each is 16 KB), and by both versions."""


def main() -> None:
    """Run both versions, each in its own process."""
    run_versions(__file__, VERSIONS, make)


def make(folder: Path, version: str) -> None:
    """Build, randomize, save and record every network."""
    import numpy as np
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, model) in enumerate(networks(tf.keras, tf.keras.layers).items()):
        random = np.random.default_rng(seed)
        for weight in model.weights:
            if not is_seed(weight):
                drawn = random.uniform(0.3, 1.2, weight.shape) if is_variance(weight) else None
                weight.assign(
                    (random.normal(0, 0.5, weight.shape) if drawn is None else drawn).astype("float32")
                )
        shape = [5, *(n or STEPS for n in model.input_shape[1:])]
        x = random.normal(0, 1, shape).astype(np.float32)
        if name == "embedding_gru":
            x = random.integers(0, 9, shape).astype(np.int32)
        y = model(x, training=False).numpy() if name != "masking" else np.zeros(1)
        for suffix in suffixes(name, version):
            path = folder / f"{name}_{version}.{suffix}"
            model.save(path)
            pack(path)
            np.savez_compressed(folder / f"{name}_{version}_{suffix}.npz", x=x, y=y)


def suffixes(name: str, version: str) -> list[str]:
    """The kinds of file that one version writes."""
    own, other = ("keras", "h5") if version == "k3" else ("h5", "keras")
    found = [own] if own == "keras" or name in HDF5 else []
    return found + ([other] if name in BOTH else [])


def pack(path: Path) -> None:
    """Compress a .keras file, which Keras only stores, and leave its date out."""
    if path.suffix != ".keras":
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)


def is_variance(weight) -> bool:
    """A variance has to be positive."""
    return "moving_variance" in (getattr(weight, "path", None) or weight.name)


def is_seed(weight) -> bool:
    """The state of a Dropout's random numbers is an integer."""
    return "int" in str(weight.dtype)


def networks(keras, layers) -> dict:
    """Every network by name."""

    def sequential(*stack):
        return keras.Sequential([layers.Input((None, FEATURES)), *stack])

    found = {
        "lstm": sequential(layers.LSTM(5), layers.Dense(3, activation="softmax")),
        "lstm_steps": sequential(
            layers.LSTM(5, return_sequences=True), layers.TimeDistributed(layers.Dense(2))
        ),
        "lstm_stacked": sequential(
            layers.LSTM(5, return_sequences=True), layers.Dropout(0.3), layers.LSTM(4), layers.Dense(3)
        ),
        "lstm_backwards": sequential(layers.LSTM(4, go_backwards=True), layers.Dense(2)),
        "lstm_options": sequential(
            layers.LSTM(4, unit_forget_bias=False, recurrent_activation="hard_sigmoid", activation="relu"),
            layers.Dense(2),
        ),
        "lstm_no_bias": sequential(layers.LSTM(4, use_bias=False), layers.Dense(2, use_bias=False)),
        "bilstm": sequential(layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)),
        "bigru_steps": sequential(
            layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum"), layers.Dense(2)
        ),
        "gru": sequential(layers.GRU(5), layers.Dense(3)),
        "gru_reset_before": sequential(layers.GRU(5, reset_after=False), layers.Dense(3)),
        "gru_hard": sequential(
            layers.GRU(4, recurrent_activation="hard_sigmoid", return_sequences=True), layers.Dense(2)
        ),
        "rnn": sequential(layers.SimpleRNN(5), layers.Dense(3)),
        "rnn_relu": sequential(layers.SimpleRNN(5, activation="relu"), layers.Dense(3), layers.Softmax()),
        "conv_lstm": sequential(
            layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"),
            layers.BatchNormalization(),
            layers.LSTM(5),
            layers.Dense(3),
        ),
        "norm_gru_mean": sequential(
            layers.LayerNormalization(),
            layers.GRU(5, return_sequences=True),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
            layers.Activation("sigmoid"),
        ),
        "masking": sequential(layers.Masking(0.0), layers.LSTM(4), layers.Dense(2)),
    }
    tokens = layers.Input((None,), dtype="int32")
    found["embedding_gru"] = keras.Model(
        tokens, layers.Dense(3)(layers.GRU(4)(layers.Embedding(9, 3)(tokens)))
    )
    x = layers.Input((None, FEATURES))
    first = layers.LSTM(4, return_sequences=True)(x)
    second = layers.LSTM(4, return_sequences=True)(first)
    joined = layers.Concatenate()([layers.Add()([first, second]), x])
    found["functional"] = keras.Model(x, layers.Dense(2, activation="tanh")(layers.GRU(3)(joined)))
    return found


if __name__ == "__main__":
    main()
