"""The CCM-nano autoencoder: TAESD's layout, 16 latent channels, one latent pixel for 8 x 8 frame pixels.

The encoder is exact linear algebra written into TAESD's convolutions: three space-to-depth steps (grey
levels are not negative, so the ReLUs pass them) and a whitening projection of each 8 x 8 block onto its 16
principal components. It needs no training. The decoder is trained to give the light of a frame, without its grain:
of that, 16 of 64 numbers hold little, and a decoder that has to make up the rest draws fibres. Grain is added
where the family is loaded (`ccm/grain.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT_CHANNELS = 16
BLOCK_PX = 8
SD3_SCALE, SD3_SHIFT = 1.5305, 0.0609  # the host maps a latent z to (z - shift) * scale for SD3 models

CROP = 12  # latent pixels
LATENT_NOISE = 0.4  # largest standard deviation, of latents of unit variance


@dataclass(frozen=True)
class Projection:
    """Whitened principal components of 8 x 8 blocks: `components` [16,64], `mean` [64]."""

    components: Tensor
    mean: Tensor

    def encode(self, grey: Tensor) -> Tensor:
        """Project frames [B,H,W] in 0..1 to latents [B,16,H/8,W/8], of unit variance once scaled."""
        blocks = _unshuffle(grey[:, None])  # [B,64,H/8,W/8]
        z = torch.einsum("ck,bkhw->bchw", self.components, blocks - self.mean[None, :, None, None])
        return z / SD3_SCALE + SD3_SHIFT


def fit_projection(frames: Tensor) -> Projection:
    """Fit the projection to frames [N,H,W] in 0..1 by the eigenvectors of the block covariance."""
    blocks = _unshuffle(frames[:, None]).movedim(1, -1).reshape(-1, BLOCK_PX**2).double()
    mean = blocks.mean(0)
    covariance = (blocks - mean).T @ (blocks - mean) / len(blocks)
    variance, vectors = torch.linalg.eigh(covariance)
    top = variance.argsort(descending=True)[:LATENT_CHANNELS]
    components = vectors[:, top].T / variance[top].sqrt()[:, None]
    return Projection(components.float(), mean.float())


def _unshuffle(x: Tensor) -> Tensor:
    for _ in range(3):
        x = F.pixel_unshuffle(x, 2)
    return x


def build(projection: Projection) -> nn.Module:
    """Return the host's TAESD with the projection as its encoder and a fresh decoder."""
    from comfy.taesd.taesd import TAESD

    torch.manual_seed(0)
    vae = TAESD(latent_channels=LATENT_CHANNELS)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.Conv2d.reset_parameters(module)
    _write_projection(vae.taesd_encoder, projection)
    return vae


def _write_projection(encoder: nn.Sequential, projection: Projection) -> None:
    """Set the encoder's convolutions so that they compute `Projection.encode` exactly."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        stages = [m for m in encoder if isinstance(m, nn.Conv2d)]
        first, strided = stages[0], stages[1:-1]
        last: Any = stages[-1]
        first.weight[0, :, 1, 1] = 1.0 / 3.0
        for level, conv in enumerate(strided):
            for channel in range(4**level):
                for child in range(4):
                    conv.weight[channel * 4 + child, channel, 1 + child // 2, 1 + child % 2] = 1.0
        last.weight[:, :, 1, 1] = projection.components / SD3_SCALE
        last.bias.copy_(-(projection.components @ projection.mean) / SD3_SCALE + SD3_SHIFT)


class DecoderProblem:
    """Implements `loop.Problem`: the decoder on random crops of latents and of the light, uint8 [N,H,W], behind them.

    `rim_px` at the border of each crop do not count: 4 where a crop lacks its surroundings, 0 to learn the
    frame's own edge, whose zero padding is the same. Latents are noisy, as those of a diffusion model are, and
    squared error asks for the mean of all light that they leave possible.
    """

    def __init__(
        self,
        decoder: nn.Module,
        lights: np.ndarray,
        latents: Tensor,
        rim_px: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.decoder = decoder.to(device).to(memory_format=torch.channels_last).train()  # pyright: ignore
        self.lights, self.latents, self.device = lights, latents, device
        self.rim_px, self.seed = rim_px, seed

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return dict(self.decoder.named_parameters())

    def losses(self, positions: range) -> Tensor:
        z, light = (
            torch.stack(part).to(self.device) for part in zip(*map(self._crop, positions), strict=True)
        )
        out = self.decoder(z.to(memory_format=torch.channels_last)).float().mean(1, keepdim=True)
        inside = slice(self.rim_px, out.shape[-1] - self.rim_px)
        return (out - light)[..., inside, inside].square().mean((1, 2, 3))

    def refresh(self) -> None:
        """Nothing is derived from the parameters."""

    def _crop(self, position: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, position))
        k, side = rng.integers(len(self.lights)), self.latents.shape[-1]
        i, j = rng.integers(0, side - CROP + 1, 2)
        z = self.latents[k, :, i : i + CROP, j : j + CROP].float()
        noise = torch.from_numpy(rng.standard_normal(z.shape, dtype=np.float32))
        top, left, side_px = BLOCK_PX * i, BLOCK_PX * j, BLOCK_PX * CROP
        px = self.lights[k, top : top + side_px, left : left + side_px].astype(np.float32) / 255
        return z + noise * (LATENT_NOISE * rng.random() / SD3_SCALE), torch.from_numpy(px)[None]


def share_grey(last: Any) -> None:
    """Make the three output channels one, so that a decoded frame is exactly grey."""
    with torch.no_grad():
        last.weight.copy_(last.weight.mean(0, keepdim=True).expand_as(last.weight).contiguous())
        last.bias.copy_(last.bias.mean().expand_as(last.bias))
