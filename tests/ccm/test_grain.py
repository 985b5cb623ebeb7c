"""Speckle on light: its strength is read from projections of the frame, its noise is that of blurred noise."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from ccm_pack.ccm.grain import FINE, LEAST, SPECKLE_PX, Grain, add_grain

CHANNELS = 16


def directions() -> torch.Tensor:
    """Orthonormal rows [16,64] that see no constant."""
    rows = torch.randn(64, CHANNELS, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(rows - rows.mean(0)).Q.T


@pytest.fixture(scope="module")
def grain() -> Grain:
    return Grain(3.0 * directions(), torch.full((CHANNELS,), 0.2))


def encode(frames: torch.Tensor) -> torch.Tensor:
    """Latents [B,16,h,w] of frames [B,1,H,W] by the same projection as the fixture's."""
    for _ in range(3):
        frames = F.pixel_unshuffle(frames, 2)
    return F.conv2d(frames, 3.0 * directions()[:, :, None, None]) + 0.2


def speckle(a: float, shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    """exp(a g - a^2 / 2), with g made by a Gaussian filter over white noise."""
    taps = torch.exp(-0.5 * (torch.arange(-4.0, 5.0) / SPECKLE_PX).square())
    white = F.pad(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), [4] * 4, "circular")
    g = F.conv2d(F.conv2d(white, taps[None, None, :, None]), taps[None, None, None, :])
    return torch.exp(a * g / g.std() - a * a / 2)


def fine(latents: torch.Tensor) -> torch.Tensor:
    return (latents[:, FINE:] - 0.2) / 3.0


@pytest.mark.parametrize("a", [0.05, 0.15, 0.3])
def test_the_strength_of_a_speckled_frame_is_found_whatever_its_light(grain: Grain, a: float) -> None:
    light = torch.linspace(0.2, 0.6, 384).expand(1, 1, 384, 384)
    found = grain.strength(fine(encode(light * speckle(a, (1, 1, 384, 384)))), light)
    assert found.item() == pytest.approx(a, rel=0.05)


def test_a_few_bright_blocks_do_not_count_as_speckle(grain: Grain) -> None:
    light = torch.full((1, 1, 384, 384), 0.4)
    frame = light * speckle(0.15, (1, 1, 384, 384))
    frame[..., 100:103, :] += 0.5  # a nerve, in 48 of 2,304 blocks
    assert grain.strength(fine(encode(frame)), light).item() == pytest.approx(0.15, rel=0.08)


def test_the_noise_is_blurred_noise_and_the_same_at_the_same_latents(grain: Grain) -> None:
    u = torch.randn(2, CHANNELS - FINE, 48, 48, generator=torch.Generator().manual_seed(2))
    noise = grain.noise(u)
    assert noise.shape == (2, 1, 384, 384) and torch.equal(noise, grain.noise(u))
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01)
    assert noise.var().item() == pytest.approx(1.0, abs=0.02)
    assert (noise**4).mean().item() == pytest.approx(3.0, abs=0.4)  # that of normal noise
    taps = [math.exp(-0.5 * (k / SPECKLE_PX) ** 2) for k in range(-4, 5)]
    for lag in (1, 2, 8):  # behind a filter, the autocorrelation is that of its taps
        expected = sum(p * q for p, q in zip(taps, taps[lag:], strict=False)) / sum(p * p for p in taps)
        for axis in (2, 3):
            found = (noise * noise.roll(lag, axis)).mean().item()
            assert found == pytest.approx(expected, abs=0.02)


def test_noise_does_not_follow_brightness_and_rounding_hardly_moves_it(grain: Grain) -> None:
    u = torch.randn(1, CHANNELS - FINE, 16, 16, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(grain.noise(u), grain.noise(0.1 * u), atol=1e-4)
    assert (grain.noise(u.half().float()) - grain.noise(u)).abs().max() < 0.05


def test_grain_keeps_the_mean_of_the_light_and_leaves_what_has_none(grain: Grain) -> None:
    light = torch.full((1, 3, 384, 384), 0.4)
    frame = grain(None, (encode(light[:, :1] * speckle(0.2, (1, 1, 384, 384))),), light)
    assert frame.shape == light.shape and torch.equal(frame[:, 0], frame[:, 2])
    assert frame.mean().item() == pytest.approx(0.4, rel=0.005)
    assert (frame.std() / frame.mean()).item() == pytest.approx(0.2, rel=0.05)
    smooth = grain(None, (encode(light[:, :1]),), light)
    assert (smooth - light).abs().max() < LEAST


def test_batches_hold_each_frames_own_strength(grain: Grain) -> None:
    light = torch.full((2, 1, 128, 128), 0.4)
    both = encode(light * torch.cat([speckle(a, (1, 1, 128, 128)) for a in (0.1, 0.3)]))
    strong = grain.strength(fine(both), light)
    alone = torch.cat([grain.strength(fine(both[k : k + 1]), light[:1]) for k in (0, 1)])
    assert torch.equal(strong, alone) and strong[1] > 2 * strong[0]


def test_an_autoencoder_gets_grain_behind_its_decoder() -> None:
    class Autoencoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.taesd_encoder = torch.nn.Sequential(torch.nn.Conv2d(64, CHANNELS, 3, padding=1))
            self.taesd_decoder = torch.nn.Upsample(scale_factor=8)

    autoencoder = Autoencoder()
    names = list(autoencoder.state_dict())
    light = autoencoder.taesd_decoder(torch.rand(1, CHANNELS, 8, 8))
    assert torch.equal(light[..., 0, 0], light[..., 1, 1])
    add_grain(autoencoder)
    frame = autoencoder.taesd_decoder(torch.rand(1, CHANNELS, 8, 8))
    assert not torch.equal(frame[..., 0, 0], frame[..., 1, 1]) and list(autoencoder.state_dict()) == names
