"""The grain of CCM-nano's frames: speckle, of which the latents hold the strength and little else.

Light that tissue scatters back is speckled, so a frame is light times speckle:

    x = L exp(a g - a^2 / 2),   g: noise of zero mean and unit variance, blurred over SPECKLE_PX

The 16 numbers that are kept of a block of 8 x 8 pixels tell its light L, but not its 64 values of g, and a decoder
that makes them up draws fibres. So the decoder gives the light, and the speckle is put on it here.

The strength a is read from the finest components. On speckled light, a projection v of a block x has the energy

    E (v x)^2 = a^2 L^2 (v R v),   R: covariance of g

wherever there is no nerve, which is in more than half of all blocks.

The noise comes from the same components u, so that a latent always gives the same frame: pixel p of a block gets a
sum of a few sin(w u), random features after Rahimi and Recht (2007, "Random features for large-scale kernel
machines"). Those of different pixels and blocks are uncorrelated, and rounding of u hardly changes them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .block_encoder import BLOCK_PX, LEVELS

LIGHT_ONLY = "ccm.light_only"  # metadata of an autoencoder whose decoder gives light without grain
SPECKLE_PX = 0.62  # standard deviation of the blur, that of the phantoms
FINE = 9  # first of the components that hold hardly anything but grain
FREQUENCY = 5.0  # length of each w
FEATURES = 4  # of a pixel; the more, the more nearly normal is the noise
AROUND = 5  # blocks a side over which the energy is averaged, to scale u to unit variance
LEAST = 1e-4  # grey level below which nothing is told apart
MOST_STRENGTH = 0.5


class Grain:
    """A forward hook of a decoder from latents [B,C,h,w] to light [B,3,8h,8w] in 0..1: it returns the speckled light.

    The latents of a block are `weight` [C,64] times its pixels, as nested 2 x 2 squares, plus `bias` [C].
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        rows, self.bias = weight.detach().float()[FINE:], bias.detach().float()[FINE:]
        self.size = rows.norm(dim=1)
        self.energy = _speckle_energy(rows / self.size[:, None])
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(FEATURES * BLOCK_PX**2, len(rows), generator=generator)
        self.features = FREQUENCY * F.normalize(directions)

    def __call__(self, decoder: object, inputs: tuple[Tensor, ...], light: Tensor) -> Tensor:
        bias, size = (row.to(light.device)[:, None, None] for row in (self.bias, self.size))
        fine = (inputs[0].float()[:, FINE:] - bias) / size  # projections of the blocks, grey levels
        a = self.strength(fine, light.float().mean(1, keepdim=True))
        return light * torch.exp(a * self.noise(fine) - a.square() / 2).to(light)

    def strength(self, fine: Tensor, light: Tensor) -> Tensor:
        """Standard deviation [B,1,1,1] of the speckle, of projections [B,K,h,w] and light [B,1,8h,8w]."""
        grey = F.avg_pool2d(light, BLOCK_PX).clamp(min=LEAST)  # of each block
        expected = self.energy.to(fine)[:, None, None] * grey.square()
        ratio = (fine.square() / expected).mean(1).flatten(1).median(dim=1).values
        square = ratio / _median_of_mean_square(fine.shape[1])
        return square.sqrt().clamp(max=MOST_STRENGTH)[:, None, None, None]

    def noise(self, fine: Tensor) -> Tensor:
        """Noise [B,1,8h,8w] of zero mean and unit variance, blurred over SPECKLE_PX."""
        edge = [AROUND // 2] * 4
        energy = F.avg_pool2d(F.pad(fine.square().mean(1, keepdim=True), edge, "replicate"), AROUND, 1)
        u = fine / energy.sqrt().clamp(min=LEAST)
        features = torch.sin(F.conv2d(u, self.features.to(u)[:, :, None, None]))
        noise = features.unflatten(1, (FEATURES, -1)).sum(1) * math.sqrt(2 / FEATURES)
        for _ in range(LEVELS):
            noise = F.pixel_shuffle(noise, 2)
        kernel = _blur().to(u)
        noise = F.pad(noise, [len(kernel) // 2] * 4, "reflect")
        return F.conv2d(F.conv2d(noise, kernel[None, None, :, None]), kernel[None, None, None, :])


def add_grain(autoencoder: Any) -> None:
    """Let a TAESD, whose encoder is the projection of `block_encoder` and whose decoder gives light, decode frames."""
    last = autoencoder.taesd_encoder[-1]
    autoencoder.taesd_decoder.register_forward_hook(Grain(last.weight[:, :, 1, 1], last.bias))


def _blur() -> Tensor:
    """Gaussian taps [5] that keep the variance of white noise when they are applied along both axes."""
    taps = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / SPECKLE_PX).square())
    return taps / taps.norm()


def _speckle_energy(projections: Tensor) -> Tensor:
    """v R v of each row [K,64] of projections of a block, R the covariance of blurred noise of unit variance."""
    taps = _blur()
    lags = F.conv1d(F.pad(taps, [4, 4])[None, None], taps[None, None])[0, 0]  # from -4 to 4
    place = torch.arange(BLOCK_PX**2).view(1, 1, BLOCK_PX, BLOCK_PX)
    for _ in range(LEVELS):
        place = F.pixel_unshuffle(place, 2)
    y, x = place.flatten() // BLOCK_PX, place.flatten() % BLOCK_PX
    dy, dx = (axis[:, None] - axis for axis in (y, x))
    near = (dy.abs() <= 4) & (dx.abs() <= 4)
    covariance = near * lags[dy.clamp(-4, 4) + 4] * lags[dx.clamp(-4, 4) + 4]
    return torch.einsum("kp,pq,kq->k", projections, covariance, projections)


def _median_of_mean_square(n: int) -> float:
    """Median of the mean of n squared standard normal numbers (Wilson and Hilferty 1931)."""
    return (1 - 2 / (9 * n)) ** 3
