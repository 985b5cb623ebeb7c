"""The FID Inception against torch-fidelity's, with the same random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ccm_pack.ccm.errors import ExtractorError
from ccm_pack.ccm.fidelity.inception import FEATURES, inception, load_inception, resize_tf1
from torch import Tensor, nn


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights that keep activations near 1 through all layers, with the file's unused classifier."""
    torch.manual_seed(0)
    network = inception()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
    return {**network.state_dict(), "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


@pytest.fixture(scope="module")
def file(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize(("height", "width"), [(384, 384), (200, 310)])
def test_equals_torch_fidelity(file: Path, rng, height: int, width: int) -> None:
    oracle = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed"
    )
    theirs = oracle.FeatureExtractorInceptionV3("oracle", ["2048"], feature_extractor_weights_path=str(file))
    levels = rng.integers(0, 256, (1, height, width), dtype=np.uint8)
    truth = theirs(torch.from_numpy(levels)[:, None].expand(-1, 3, -1, -1))[0].numpy()
    ours = load_inception(file)((levels / 255.0).astype(np.float32))
    assert ours.shape == (1, FEATURES)
    assert np.abs(ours - truth).max() <= 1e-5 * np.abs(truth).max()
    assert truth.std() > 0.1  # neither dead nor saturated


def test_the_network_has_the_published_number_of_weights() -> None:
    """Inception-v3 without its auxiliary head has 23 834 568, its classifier 2048 x 1000 + 1000."""
    weights = sum(parameter.numel() for parameter in inception().parameters())
    assert weights == 23_834_568 - 2048 * 1000 - 1000


def test_safetensors_and_pickle_give_the_same_features(file: Path, state, rng, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "weights.safetensors")
    grey = rng.random((1, 75, 75)).astype(np.float32)
    ours, other = load_inception(file), load_inception(tmp_path / "weights.safetensors")
    assert np.array_equal(ours(grey), other(grey))
    assert ours.hash != other.hash


def test_resizing_reads_corner_anchored_positions_without_antialiasing() -> None:
    ramp = torch.arange(8.0).expand(1, 8, 8)
    assert resize_tf1(ramp, 4)[0, 0].tolist() == [0.0, 2.0, 4.0, 6.0]
    assert resize_tf1(ramp, 16)[0, 0, -3:].tolist() == [6.5, 7.0, 7.0]
    assert torch.equal(resize_tf1(ramp, 8), ramp)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"not a weights file")
    with pytest.raises(ExtractorError, match=r"broken\.pth"):
        load_inception(tmp_path / "broken.pth")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match=r"nowhere\.pth"):
        load_inception(tmp_path / "nowhere.pth")


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ExtractorError, match="no plain table of tensors"):
        load_inception(tmp_path / "list.pth")


def test_another_network_is_refused_with_the_first_tensor_that_differs(state, tmp_path: Path) -> None:
    wrong = {**state, "Mixed_5b.branch1x1.conv.weight": torch.zeros(64, 192, 3, 3)}
    torch.save(wrong, tmp_path / "other.pth")
    with pytest.raises(ExtractorError, match=r"1 of \d+ tensors.*Mixed_5b\.branch1x1\.conv\.weight"):
        load_inception(tmp_path / "other.pth")
