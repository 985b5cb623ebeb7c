"""Networks of the user's own: what is accepted, and how everything else is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from ccm_pack.ccm.errors import NetworkError
from ccm_pack.ccm.own_network import load_own_network
from ccm_pack.ccm.segmentation import THRESHOLD, segment_nerves
from torch import Tensor, nn

GREY = np.random.default_rng(0).random((2, 40, 56), np.float32)
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


class Brightness(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0, 1)


class Logits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 9.0 * x - 4.0


class Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::2, ::2]


class NotANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0.0 * 0.0


class ThreeChannels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(x))


def saved(network: nn.Module, folder, name: str = "network.pt"):
    torch.jit.script(network).save(str(folder / name))
    return folder / name


def test_a_torchscript_network_is_asked_frame_by_frame(tmp_path):
    network = load_own_network(saved(Brightness(), tmp_path))
    assert network.probability(GREY) == pytest.approx(GREY)
    mask = segment_nerves(GREY, network=network).mask
    assert (mask == (GREY > THRESHOLD)).all()


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (Logits(), "sigmoid"),
        (Halved(), r"shape \(1, 1, 20, 28\) to a frame of \(40, 56\)"),
        (NotANumber(), "NaN"),
        (ThreeChannels(), "fails on a frame of 56 x 40"),
    ],
)
def test_an_answer_that_is_no_probability_is_refused(tmp_path, network, told):
    with pytest.raises(NetworkError, match=told):
        load_own_network(saved(network, tmp_path)).probability(GREY)


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(NetworkError, match=r"\.onnx"):
        load_own_network(tmp_path / "weights.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NetworkError, match="nowhere.pt"):
        load_own_network(tmp_path / "nowhere.pt")


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(NetworkError, match="cut.pt cannot be loaded"):
        load_own_network(tmp_path / "cut.pt")


def test_a_pickled_network_is_refused_not_run(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickle.pt")
    with pytest.raises(NetworkError, match="cannot be loaded"):
        load_own_network(tmp_path / "pickle.pt")


def test_onnx_without_onnxruntime_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "network.onnx").write_bytes(b"\x08\x07")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NetworkError, match="pip install onnxruntime"):
        load_own_network(tmp_path / "network.onnx")


def test_an_onnx_network_is_asked_frame_by_frame(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    shape = [1, 1, "height", "width"]
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in ("x", "y"))
    graph = onnx.helper.make_graph([onnx.helper.make_node("Sigmoid", ["x"], ["y"])], "sigmoid", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "network.onnx"))
    network = load_own_network(tmp_path / "network.onnx")
    assert network.probability(GREY) == pytest.approx(1 / (1 + np.exp(-GREY)), abs=1e-5)
