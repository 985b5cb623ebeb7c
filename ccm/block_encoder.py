"""The encoder of CCM-nano's autoencoder as what it is: a linear projection of each 8 x 8 block of a grey frame.

Its weight file holds it written out as the host's convolutions, so that a stock loader reads it; these compute with
64 channels of which most are zero, for about a third of a frame's whole time.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 3  # of halving
BLOCK_PX = 2**LEVELS


class BlockEncoder(nn.Module):
    """Frames [B,3,H,W] in 0..1 to latents [B,C,H/8,W/8]: `weight` [C,64] times the grey block, plus `bias` [C]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)

    def forward(self, x: Tensor) -> Tensor:
        blocks = F.relu(x.mean(1, keepdim=True))
        for _ in range(LEVELS):
            blocks = F.pixel_unshuffle(blocks, 2)
        return F.conv2d(blocks, self.weight[:, :, None, None], self.bias)


def simplify(autoencoder: Any) -> None:
    """Let a TAESD's encoder compute the projection that it is; one that is none stays, and so do other autoencoders."""
    encoder = getattr(autoencoder, "taesd_encoder", None)
    blocks = None if encoder is None else as_blocks(encoder)
    if blocks is not None:
        autoencoder.taesd_encoder = blocks


def as_blocks(encoder: Any) -> BlockEncoder | None:
    """Return the projection that the convolutions of a TAESD encoder compute; None where they are no projection."""
    *_, last = encoder
    channels = BLOCK_PX**2
    if tuple(last.weight.shape[1:]) != (channels, 3, 3):
        return None
    found = BlockEncoder(last.weight[:, :, 1, 1].detach().clone(), last.bias.detach().clone())
    probe = torch.rand(1, 3, 4 * BLOCK_PX, 4 * BLOCK_PX, generator=torch.Generator().manual_seed(0))
    probe = probe.to(last.weight)
    with torch.no_grad():
        wanted = encoder(probe)
        same = torch.allclose(found(probe), wanted, atol=1e-3 * float(wanted.abs().max()))
    return found if same else None
