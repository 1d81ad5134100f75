"""Files of PyTorch's two ONNX exporters; the import itself compares each with ONNX Runtime."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from import_modules import INPUTS, Network, exported, networks
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.ir import recurrent_ops, verify_lowerable
from stepcell.ir.ops import Rnn
from stepcell.reference.float_model import run_float
from stepcell.reference.onnx_runtime import run_source


def imports_and_computes_the_same(module: Network, content: bytes, example: torch.Tensor) -> None:
    """The imported model against PyTorch itself, at the example's length."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        path.write_bytes(content)
        model = verify_lowerable(import_onnx(path))
    with torch.no_grad():
        wanted = module.eval()(example)
    if module.time == 0:
        example, wanted = example.transpose(0, 1), wanted.transpose(0, 1) if wanted.ndim == 3 else wanted
    (found,) = run_float(model, example.double().numpy()).outputs(model.main).values()
    assert np.allclose(found, wanted.numpy(), atol=1e-5)
    assert len(recurrent_ops(model)) == module.recurrent.num_layers


@settings(max_examples=40)
@given(networks(), st.booleans(), st.integers(1, 3), st.integers(2, 7), st.integers(0, 99))
def test_legacy_exports_import(module: Network, free: bool, batch: int, steps: int, seed: int) -> None:
    shape = (batch, steps) if module.time == 1 else (steps, batch)
    example = torch.randn(*shape, INPUTS, generator=torch.Generator().manual_seed(seed))
    imports_and_computes_the_same(module, exported(module, example, dynamo=False, free=free), example)


@pytest.mark.parametrize(
    "module",
    [Network("lstm", "last", 2), Network("gru", "mean", 1, batch_first=False, bias=False)],
    ids=["lstm", "gru-time-first-no-bias"],
)
@pytest.mark.parametrize("free", [True, False])
def test_dynamo_exports_import(module: Network, free: bool) -> None:
    example = torch.randn(2, 7, INPUTS)
    imports_and_computes_the_same(module, exported(module, example, dynamo=True, free=free), example)


@pytest.mark.parametrize("head", ["last", "every"])
def test_a_layer_that_dynamo_unrolled_is_rolled_up(head: str, tmp_path: Path) -> None:
    """It writes every step of an RNN of fixed length; of two steps nothing shows that they are a loop."""
    module = Network("rnn_tanh", head)
    content = exported(module, torch.randn(1, 6, INPUTS), dynamo=True, free=False)
    (tmp_path / "net.onnx").write_bytes(content)
    model = import_onnx(tmp_path / "net.onnx")
    assert any(isinstance(op, Rnn) for op in model.main.stages[0].ops)
    (tmp_path / "net.onnx").write_bytes(exported(module, torch.randn(1, 2, INPUTS), dynamo=True, free=False))
    with pytest.raises(StepcellError, match="nothing recurs") as refused:
        import_onnx(tmp_path / "net.onnx")
    assert "dynamo=False" in refused.value.hint


def test_a_file_that_states_the_traced_steps_of_a_free_time_imports(tmp_path: Path) -> None:
    """PyTorch's newer exporter states the traced shapes of outputs whose time is free."""
    example = torch.randn(1, 20, INPUTS)
    module = Network("gru", "every")
    content = exported(module, example, dynamo=False, free=True)
    stated = onnx.load_from_string(content)
    steps = stated.graph.output[0].type.tensor_type.shape.dim[1]
    steps.Clear()
    steps.dim_value = 20
    (tmp_path / "net.onnx").write_bytes(stated.SerializeToString())
    model = import_onnx(tmp_path / "net.onnx")
    assert model.source is not None
    shorter = torch.randn(1, 5, INPUTS)
    (found,) = run_source(tmp_path / "net.onnx", model.source, shorter.numpy()).values()
    with torch.no_grad():
        assert np.allclose(found, module.eval()(shorter).numpy(), atol=1e-5)
