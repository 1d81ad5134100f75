"""`stepcell inspect` lists every node that stands in the way, whatever the kind of the file."""

import json
from pathlib import Path
from typing import Any

import torch
from onnx import helper
from torch import Tensor, nn

from command_line import call
from edited_files import edited_keras, edited_tflite, operator_code
from import_graphs import layer_file
from stepcell.importers import diagnose

FIXTURES = Path(__file__).parent / "fixtures"


def refused(path: Path | str, **options: Any) -> list[str]:
    """The nodes that are listed, each with the reason: one line."""
    problems = diagnose(path, **options)
    assert all(problem.endswith(".") and "\n" not in problem for problem in problems)
    return [problem.partition("(")[2].partition(")")[0] for problem in problems]


def tflite(folder: Path, name: str, *changes: tuple[int, int, str]) -> Path:
    """A file whose operators (graph, number) have become others."""

    def edit(model: Any) -> None:
        for change in changes:
            operator_code(model, *change)

    path = folder / "model.tflite"
    path.write_bytes(edited_tflite(FIXTURES / "tflite" / f"{name}.tflite", edit))
    return path


def test_onnx_also_behind_a_refused_node(tmp_path: Path) -> None:
    tail = [
        helper.make_node("Squeeze", ["Y_h", "zero"], ["h"]),
        helper.make_node("Det", ["h"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("NonZero", ["b"], ["c"]),
        helper.make_node("Unique", ["h"], ["d"]),
        helper.make_node("Add", ["c", "d"], ["y"]),
    ]
    assert refused(layer_file(tmp_path, "LSTM", tail)) == ["Det", "NonZero", "Unique"]


def test_tflite(tmp_path: Path) -> None:
    path = tflite(tmp_path, "conv_lstm_float", (0, 2, "CONV_3D"), (0, 4, "SVDF"), (0, 7, "RANK"))
    assert refused(path) == ["CONV_3D", "SVDF", "RANK"]


def test_tflite_in_the_body_of_a_loop(tmp_path: Path) -> None:
    path = tflite(tmp_path, "gru_float", (2, 14, "COS"), (0, 4, "RANK"))
    assert refused(path) == ["COS", "RANK"]


def test_keras(tmp_path: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["layers"][1]["class_name"] = "SeparableConv1D"
        config["layers"][-1]["class_name"] = "Mine"

    assert refused(edited_keras(FIXTURES / "keras" / "conv_lstm_k3.keras", tmp_path, edit)) == [
        "SeparableConv1D",
        "Mine",
    ]


class Refused(nn.Module):
    """A network with three operations that no step computes, one of them behind another."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, T, 3]."""
        y, _ = self.recurrent(x)
        return torch.sort(self.head(torch.cummax(y, 2)[0]))[0], y.cumprod(1)


NODES = ["aten.cummax.default", "aten.sort.default", "aten.cumprod.default"]


def test_exported_programs(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(Refused().eval(), (torch.zeros(1, 7, 3),)), path)
    assert refused(path) == NODES


FACTORY = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        y, _ = self.recurrent(x)
        return torch.sort(torch.cummax(y, 2)[0])[0], y.cumprod(1)


def build():
    return Net()
"""


def test_modules_of_a_factory_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FACTORY)
    found = call("inspect", f"{tmp_path / 'net.py'}:build", "--shape", "x=1,T,3", "--json")
    problems = json.loads(found.stdout)["problems"]
    assert found.exit_code == 2
    assert [any(node in problem for problem in problems) for node in NODES] == [True] * 3
    assert len(problems) == 3
