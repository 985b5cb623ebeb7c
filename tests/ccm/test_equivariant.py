"""Turning the input turns the output, and the folded network is the trained one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ccm_pack.ccm.equivariant import ORDER, GroupBlock, LiftingBlock, ProjectionHead, turned
from ccm_pack.ccm.segmentation import SegmentationNet, load_segmenter
from torch import nn


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(LiftingBlock(2), GroupBlock(2, 3), ProjectionHead(3))
    for block in net:
        if hasattr(block, "norm"):
            nn.init.uniform_(block.norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(block.norm.weight, 0.5, 1.5)
    return net.eval()


def test_the_eight_symmetries_differ():
    square = np.arange(4).reshape(2, 2)
    assert len({turned(square, g).tobytes() for g in range(ORDER)}) == ORDER


@pytest.mark.parametrize("g", range(ORDER))
@torch.inference_mode()
def test_layers_turn_with_their_input(g):
    net, x = small_network(), np.random.default_rng(0).random((1, 1, 16, 16), np.float32)
    straight = net(torch.from_numpy(x)).numpy()
    moved = net(torch.from_numpy(turned(x, g).copy())).numpy()
    assert moved == pytest.approx(turned(straight, g), abs=1e-5)


@torch.inference_mode()
def test_folded_blocks_give_the_same_answer():
    torch.manual_seed(1)
    net, x = SegmentationNet().eval(), torch.rand(1, 1, 64, 64)
    before = net(x)
    assert torch.allclose(net.fold()(x), before, atol=1e-4)


@pytest.mark.parametrize("g", range(ORDER))
def test_the_trained_network_turns_with_the_frame(g):
    grey = np.random.default_rng(3).random((1, 96, 96), np.float32)
    straight = load_segmenter().probability(grey)
    assert load_segmenter().probability(turned(grey, g).copy()) == pytest.approx(
        turned(straight, g), abs=1e-3
    )


def test_features_are_those_of_the_turned_frame():
    grey = np.random.default_rng(4).random((1, 96, 96), np.float32)
    features = load_segmenter().features(grey)
    assert features.shape == (1, 104)
    assert load_segmenter().features(np.rot90(grey, axes=(1, 2)).copy()) == pytest.approx(features, abs=1e-3)
