"""The CCM-nano autoencoder: TAESD's layout, 16 latent channels, one latent pixel for 8 x 8 frame pixels.

The encoder is exact linear algebra written into TAESD's convolutions: three space-to-depth steps (grey
levels are not negative, so the ReLUs pass them) and a whitening projection of each 8 x 8 block onto its 16
principal components. It needs no training. The decoder is trained on what the projection keeps; a texture loss beside
L1 makes it restore the speckle that the mean of all possible blocks would lose, and a patch discriminator at
the end takes out what such a loss does not see, in frames that the family draws above all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..discriminator import Discriminator

LATENT_CHANNELS = 16
BLOCK_PX = 8
SD3_SCALE, SD3_SHIFT = 1.5305, 0.0609  # the host maps a latent z to (z - shift) * scale for SD3 models

CROP = 12  # latent pixels
TEXTURE_WEIGHT = 1.0  # against L1
ENERGY_WEIGHT = 0.02
LEAST_ENERGY = 1e-6
PATTERN_WEIGHT = 4.0
WINDOW = 32  # pixels
LATENT_NOISE = 0.3  # largest standard deviation, of latents of unit variance
JUDGE_WEIGHT = 0.05
JUDGE_RIM = 8  # pixels


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
    """Implements `loop.Problem`: the decoder on random crops of frames uint8 [N,H,W] and their latents.

    `rim_px` at the border of each crop do not count: 4 where a crop lacks its surroundings, 0 to learn the
    frame's own edge, whose zero padding is the same. Latents are a little noisy, as those of a diffusion
    model are: what it gets wrong shall look like grain.
    """

    def __init__(
        self,
        decoder: nn.Module,
        frames: np.ndarray,
        latents: Tensor,
        rim_px: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.decoder = decoder.to(device).to(memory_format=torch.channels_last).train()  # pyright: ignore
        self.frames, self.latents, self.device = frames, latents, device
        self.rim_px, self.seed = rim_px, seed

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return dict(self.decoder.named_parameters())

    def losses(self, positions: range) -> Tensor:
        out, target = self.decoded(positions)
        return reconstruction_loss(out, target, self.rim_px).expand(len(positions))

    def decoded(self, positions: range) -> tuple[Tensor, Tensor]:
        """Decoded crops and the true ones, grey [B,1,H,W]."""
        z, target = (
            torch.stack(part).to(self.device) for part in zip(*map(self._crop, positions), strict=True)
        )
        out = self.decoder(z.to(memory_format=torch.channels_last)).float()
        return out.mean(1, keepdim=True), target

    def refresh(self) -> None:
        """Nothing is derived from the parameters."""

    def _crop(self, position: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, position))
        k, side = rng.integers(len(self.frames)), self.latents.shape[-1]
        i, j = rng.integers(0, side - CROP + 1, 2)
        z = self.latents[k, :, i : i + CROP, j : j + CROP].float()
        noise = torch.from_numpy(rng.standard_normal(z.shape, dtype=np.float32))
        top, left, side_px = BLOCK_PX * i, BLOCK_PX * j, BLOCK_PX * CROP
        px = self.frames[k, top : top + side_px, left : left + side_px].astype(np.float32) / 255
        return z + noise * (LATENT_NOISE * rng.random() / SD3_SCALE), torch.from_numpy(px)[None]


class GrainProblem(DecoderProblem):
    """The same against a judge, which learns beside it to tell decoded crops from true ones.

    Half of what it judges was decoded from latents that the family has drawn: `drawn` [M,16,h,w]. These are smoother
    than those of frames, and there is no true frame to compare with, but the energies of other frames. Hinge loss
    (Lim and Ye 2017, arXiv 1705.02894). The judge halves three times, so that it sees the place within a block, and
    does not see the rim, where a crop lacks its surroundings.
    """

    def __init__(
        self,
        decoder: nn.Module,
        frames: np.ndarray,
        latents: Tensor,
        drawn: Tensor,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(decoder, frames, latents, 0, seed, device)
        self.drawn = drawn
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.judge = Discriminator(0).to(device)

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {**super().parameters, **{f"judge.{k}": p for k, p in self.judge.named_parameters()}}

    def losses(self, positions: range) -> Tensor:
        out, target = self.decoded(positions)
        inside = (..., slice(JUDGE_RIM, -JUDGE_RIM), slice(JUDGE_RIM, -JUDGE_RIM))
        drawn = self._decoded_drawn(positions)
        fake = torch.cat([out, drawn])[inside]
        still = {name: p.detach() for name, p in self.judge.named_parameters()}
        fooled = functional_call(self.judge, still, _seen(fake))[0]
        on_real, on_fake = (self.judge(*_seen(x))[0] for x in (target[inside], fake.detach()))
        judged = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
        loss = reconstruction_loss(out, target, self.rim_px) + energy_loss(drawn, target)
        return (loss - JUDGE_WEIGHT * fooled.mean() + judged).expand(len(positions))

    def _decoded_drawn(self, positions: range) -> Tensor:
        """As many decoded crops [B,1,H,W] of drawn latents."""
        crops = []
        for position in positions:
            rng, side = np.random.default_rng((self.seed, position, 1)), self.drawn.shape[-1]
            i, j = rng.integers(0, side - CROP + 1, 2)
            crops.append(self.drawn[rng.integers(len(self.drawn)), :, i : i + CROP, j : j + CROP].float())
        z = torch.stack(crops).to(self.device)
        return self.decoder(z.to(memory_format=torch.channels_last)).float().mean(1, keepdim=True)


def _seen(x: Tensor) -> tuple[Tensor, Tensor]:
    """What the judge is given of [B,1,H,W]: the crop, and no condition."""
    return x, x[:, :0]


def reconstruction_loss(out: Tensor, target: Tensor, rim_px: int) -> Tensor:
    """Loss of grey crops [B,1,H,W]: L1 of pixels and of 3 x 3 means, and what makes grain look like grain.

    L1 alone gives the median of all grains, which is none. The rest compares energies: local ones behind each
    texture filter, and those of the whole batch by frequency and by place within a block. These, and the mean
    detail at each place, are what a weave in step with the blocks would change.
    """
    if rim_px:
        out, target = (x[..., rim_px:-rim_px, rim_px:-rim_px] for x in (out, target))
    loss = 0.5 * F.l1_loss(out, target) + F.l1_loss(F.avg_pool2d(out, 3, 1), F.avg_pool2d(target, 3, 1))
    loss = loss + TEXTURE_WEIGHT * F.l1_loss(_texture(out), _texture(target))
    return loss + energy_loss(out, target) + PATTERN_WEIGHT * F.l1_loss(_pattern(out), _pattern(target))


def energy_loss(out: Tensor, target: Tensor) -> Tensor:
    """How far the energies of two batches [B,1,H,W] are apart, by frequency and by place within a block."""
    pairs = [(energy(out), energy(target)) for energy in (_spectrum, _energy_by_place)]
    ratios = [torch.log(a + LEAST_ENERGY) - torch.log(b + LEAST_ENERGY) for a, b in pairs]
    return ENERGY_WEIGHT * sum((ratio.abs().mean() for ratio in ratios), torch.zeros((), device=out.device))


def _texture(x: Tensor) -> Tensor:
    """Root mean square of [B,1,H,W] behind each filter, in windows of 11 pixels."""
    answers = F.conv2d(x, _texture_filters().to(x))
    return F.avg_pool2d(answers.square(), 11, 4).add(1e-6).sqrt()


def _spectrum(x: Tensor) -> Tensor:
    """Mean power [WINDOW,WINDOW/2+1] of all windows of a batch [B,1,H,W]."""
    windows = x.unfold(2, WINDOW, WINDOW // 2).unfold(3, WINDOW, WINDOW // 2).flatten(0, 3)
    fade = torch.hann_window(WINDOW, device=x.device)
    windows = (windows - windows.mean((-2, -1), keepdim=True)) * fade[:, None] * fade
    return torch.fft.rfft2(windows, norm="ortho").abs().square().mean(0)


def _energy_by_place(x: Tensor) -> Tensor:
    """Mean square of the fine detail at each place of a block, [BLOCK_PX,BLOCK_PX], of a batch [B,1,H,W]."""
    return _by_place(_detail(x).square())


def _pattern(x: Tensor) -> Tensor:
    """Mean of the fine detail at each place of a block, [BLOCK_PX,BLOCK_PX], of a batch [B,1,H,W]."""
    return _by_place(_detail(x))


def _detail(x: Tensor) -> Tensor:
    return x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _by_place(x: Tensor) -> Tensor:
    return x.unfold(2, BLOCK_PX, BLOCK_PX).unfold(3, BLOCK_PX, BLOCK_PX).mean((0, 1, 2, 3))


@lru_cache(maxsize=1)
def _texture_filters() -> Tensor:
    """Random filters [24,1,5,5] of zero sum and unit norm.

    Their energies together fix the autocorrelation of the grain, in every direction: bands that tell only
    scales apart are satisfied by a weave along rows and columns.
    """
    filters = torch.randn(24, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    filters -= filters.mean(dim=(2, 3), keepdim=True)
    return filters / filters.flatten(1).norm(dim=1)[:, None, None, None]


def share_grey(last: Any) -> None:
    """Make the three output channels one, so that a decoded frame is exactly grey."""
    with torch.no_grad():
        last.weight.copy_(last.weight.mean(0, keepdim=True).expand_as(last.weight).contiguous())
        last.bias.copy_(last.bias.mean().expand_as(last.bias))
