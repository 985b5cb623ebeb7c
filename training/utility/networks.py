"""The two small networks that stand for what users train: a segmentation of nerves and a classifier of cohorts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (8, 16, 32)  # of the segmentation network, finest level first
CLASSIFIER_WIDTHS = (8, 16, 32, 32)


class SmallUNet(nn.Module):
    """U-Net of three levels; H and W are multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(1, WIDTHS[0])
        pairs = list(zip(WIDTHS[:-1], WIDTHS[1:], strict=True))
        self.down = nn.ModuleList(_block(a, b) for a, b in pairs)
        self.up = nn.ModuleList(_block(a + b, a) for a, b in reversed(pairs))
        self.head = nn.Conv2d(WIDTHS[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B,H,W] that a pixel of normalised frames [B,1,H,W] is nerve."""
        maps = [self.stem(x)]
        for level in self.down:
            maps.append(level(F.max_pool2d(maps[-1], 2)))
        *skips, y = maps
        for level, skip in zip(self.up, reversed(skips), strict=True):
            y = level(torch.cat([F.interpolate(y, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return self.head(y)[:, 0]


class SmallClassifier(nn.Module):
    """Four convolutions in steps of two pixels, averaged over the frame."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (1, *CLASSIFIER_WIDTHS)
        self.body = nn.Sequential(
            *(_convolution(a, b, 2) for a, b in zip(widths[:-1], widths[1:], strict=True))
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B,classes] of normalised frames [B,1,H,W]."""
        return self.head(self.body(x).mean(dim=(2, 3)))


def _block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(_convolution(n_in, n_out, 1), _convolution(n_out, n_out, 1))


def _convolution(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)
    )
