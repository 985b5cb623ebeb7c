"""A patch discriminator, small and for frames of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2


class Discriminator(nn.Module):
    """Frame and condition planes -> a score for each patch of 46 pixels, and the features before (for matching)."""

    def __init__(self, planes: int, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        ins = (1 + planes, *widths[:-1])
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(ins, widths, strict=True)
        )
        self.norms = nn.ModuleList(nn.InstanceNorm2d(b) for b in widths)
        self.score = nn.Conv2d(widths[-1], 1, 4, padding=1)

    def forward(self, frame: Tensor, condition: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = torch.cat([frame, condition], 1), []
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = layer(x)
            x = F.leaky_relu(norm(x) if number else x, LEAK)
            features.append(x)
        return self.score(x), features
