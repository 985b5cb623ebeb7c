"""The projection stands for the host's convolutions, and only where they are one."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("comfy.taesd.taesd", reason="needs the host's modules on the path (COMFYUI_PATH)")

from ccm_pack.ccm.block_encoder import as_blocks
from ccm_pack.training.nano import autoencoder
from comfy.taesd import taesd


@pytest.fixture(scope="module")
def encoder() -> torch.nn.Module:
    frames = torch.rand(8, 64, 64, generator=torch.Generator().manual_seed(0))
    return autoencoder.build(autoencoder.fit_projection(frames)).get_submodule("taesd_encoder")


def test_it_encodes_colour_frames_as_the_convolutions_do(encoder: torch.nn.Module) -> None:
    frames = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    blocks = as_blocks(encoder)
    assert blocks is not None
    with torch.no_grad():
        assert (blocks(frames) - encoder(frames)).abs().max() < 1e-5


def test_values_below_zero_are_cut_as_the_first_layer_cuts_them(encoder: torch.nn.Module) -> None:
    frames = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    blocks = as_blocks(encoder)
    assert blocks is not None
    with torch.no_grad():
        assert (blocks(frames) - encoder(frames)).abs().max() < 1e-4


def test_an_encoder_that_is_no_projection_is_left_alone() -> None:
    torch.manual_seed(0)
    other = taesd.Encoder(latent_channels=16)
    for module in other.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.Conv2d.reset_parameters(module)
    assert as_blocks(other) is None
