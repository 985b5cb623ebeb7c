"""A mask-conditional GAN in the manner of SPADE (Park et al. 2019, arXiv 1903.07291), small and of any frame size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOISE = 16  # channels of the noise that a frame starts from, at 1/16 of its size
WIDTHS = (64, 64, 32, 16, 8)  # channels at 1/16 ... 1/1
LEAK = 0.2


class SpatiallyAdaptiveNorm(nn.Module):
    """gamma(m) * (x - mean) / std + beta(m): mean and std of each channel, gamma and beta of each pixel's map m.

    Means and deviations are those of the sample, so that a frame does not depend on its batch.
    """

    def __init__(self, channels: int, planes: int, hidden: int = 16) -> None:
        super().__init__()
        self.shared = nn.Conv2d(planes, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        at_size = F.interpolate(condition, x.shape[-2:], mode="area")
        hidden = F.relu(self.shared(at_size))
        return F.instance_norm(x) * (1 + self.gamma(hidden)) + self.beta(hidden)


class Block(nn.Module):
    """Two convolutions and a shortcut, each behind a spatially-adaptive norm."""

    def __init__(self, n_in: int, n_out: int, planes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(SpatiallyAdaptiveNorm(n, planes) for n in (n_in, n_out, n_in))
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        first, second, short = self.norms
        y = self.first(F.leaky_relu(first(x, condition), LEAK))
        y = self.second(F.leaky_relu(second(y, condition), LEAK))
        return y + self.shortcut(short(x, condition))


class Generator(nn.Module):
    """Noise [B,NOISE,h/16,w/16] and condition planes [B,P,h,w] -> frames [B,1,h,w] in 0..1."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.start = nn.Conv2d(NOISE, WIDTHS[0], 3, padding=1)
        ins = (WIDTHS[0], *WIDTHS[:-1])
        self.blocks = nn.ModuleList(Block(a, b, planes) for a, b in zip(ins, WIDTHS, strict=True))
        self.last = nn.Conv2d(WIDTHS[-1], 1, 3, padding=1)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        x = self.start(noise)
        for number, block in enumerate(self.blocks):
            x = block(F.interpolate(x, scale_factor=2) if number else x, condition)
        return torch.sigmoid(self.last(F.leaky_relu(x, LEAK)))

    @staticmethod
    def noise(seeds: Tensor, size: tuple[int, int]) -> Tensor:
        """Noise for frames of this size, each fixed by its seed [B]."""
        shape = (1, NOISE, size[0] // 16, size[1] // 16)
        return torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(int(s))) for s in seeds])
