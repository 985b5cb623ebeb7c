"""Convolutions that turn with their input: the regular representation of the square's eight symmetries.

A feature field has eight channels, one for each rotation by 90 degrees and its mirror image; turning the input turns
the maps and permutes these eight. Every layer here keeps that exactly, so a network of them answers alike for
every orientation of a frame. Cohen and Welling, Group equivariant convolutional networks, ICML 2016.

Notation: `T_g` moves pixels by the symmetry g, `ORDER` counts symmetries, channels are ordered (field, g).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ORDER = 8


def turned(pixels: np.ndarray, g: int) -> np.ndarray:
    """Apply symmetry g (0..7) to pixels [...,H,W]: mirrored for g >= 4, then turned g modulo 4 times by 90 degrees."""
    return np.rot90(pixels[..., ::-1] if g >= 4 else pixels, g % 4, axes=(-2, -1))


def _positions(side: int) -> np.ndarray:
    """[8,side*side]: where in a kernel the pixel at each place of the kernel moved by T_g comes from."""
    grid = np.arange(side * side).reshape(side, side)
    return np.stack([turned(grid, g).ravel() for g in range(ORDER)])


def _relative() -> np.ndarray:
    """[8,8]: the symmetry inverse(g) * h, for which T_g T_e = T_h."""
    moves = _positions(2)
    table = np.zeros((ORDER, ORDER), np.int64)
    for g in range(ORDER):
        for e in range(ORDER):
            h = (moves == turned(moves[e].reshape(2, 2), g).ravel()).all(axis=1).argmax()
            table[g, h] = e
    return table


class LiftingBlock(nn.Module):
    """Frame [B,1,H,W] to fields [B,8*fields,H/2,W/2]: 6 x 6 kernels in steps of two pixels, batch norm, ReLU."""

    index: Tensor

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fields, 36) * (2 / 36) ** 0.5)
        self.norm = nn.BatchNorm3d(fields)
        self.register_buffer("index", torch.from_numpy(_positions(6).ravel()), persistent=False)

    def kernels(self) -> Tensor:
        """One kernel for each field and symmetry, [8*fields,1,6,6]."""
        return self.weight.index_select(1, self.index).view(-1, 1, 6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return _normed(F.conv2d(x, self.kernels(), stride=2, padding=2), self.norm)

    def folded(self) -> nn.Sequential:
        """The same map as a plain convolution, batch norm included."""
        return _folded(self.kernels(), self.norm, stride=2, padding=2)


class GroupBlock(nn.Module):
    """Fields [B,8*n_in,H,W] to [B,8*n_out,H,W]: 3 x 3 group convolution, batch norm, ReLU."""

    index: Tensor

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, ORDER * 9) * (2 / (n_in * ORDER * 9)) ** 0.5)
        self.norm = nn.BatchNorm3d(n_out)
        index = _relative()[:, :, None] * 9 + _positions(3)[:, None, :]
        self.register_buffer("index", torch.from_numpy(index.ravel()), persistent=False)

    def kernels(self) -> Tensor:
        """T_g of the kernel for inverse(g) * h, for every pair of channels, [8*n_out,8*n_in,3,3]."""
        n_out, n_in = self.weight.shape[:2]
        full = self.weight.index_select(2, self.index).view(n_out, n_in, ORDER, ORDER, 9)
        return full.transpose(1, 2).reshape(n_out * ORDER, n_in * ORDER, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return _normed(F.conv2d(x, self.kernels(), padding=1), self.norm)

    def folded(self) -> nn.Sequential:
        """The same map as a plain convolution, batch norm included."""
        return _folded(self.kernels(), self.norm, stride=1, padding=1)


class JoiningBlocks(nn.Sequential):
    """Coarse fields [B,8*n_coarse,H,W] and fine ones [B,8*n_fine,2H,2W] to fine ones.

    The coarse ones are enlarged and both go through two group convolutions.
    """

    def __init__(self, n_coarse: int, n_fine: int) -> None:
        super().__init__(GroupBlock(n_coarse + n_fine, n_fine), GroupBlock(n_fine, n_fine))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return super().forward(
            torch.cat([F.interpolate(coarse, scale_factor=2.0, mode="nearest"), fine], dim=1)
        )

    def folded(self) -> nn.Module:
        """The same map as plain convolutions, of which none works on enlarged fields."""
        first, second = (block.folded() for block in self if isinstance(block, GroupBlock))
        joined = first[0]
        assert isinstance(joined, nn.Conv2d)
        return _FoldedJoin(joined, second)


class _FoldedJoin(nn.Module):
    """JoiningBlocks after the folding.

    A 3 x 3 convolution of twice enlarged fields is a transposed one of the fields themselves, with a 4 x 4 kernel in
    steps of two pixels: less than half the work, and nothing is copied.
    """

    def __init__(self, joined: nn.Conv2d, after: nn.Module) -> None:
        super().__init__()
        fine = joined.out_channels
        coarse = joined.in_channels - fine
        self.enlarging = nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1, bias=False)
        self.joining = nn.Conv2d(fine, fine, 3, padding=1)
        turned_over = F.pad(joined.weight[:, :coarse].flip(2, 3), (1, 1, 1, 1))
        self.enlarging.weight.data = F.avg_pool2d(turned_over, 2, 1, divisor_override=1).transpose(0, 1)
        self.joining.weight.data = joined.weight[:, coarse:]
        self.joining.bias = joined.bias
        self.after = after

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return self.after(F.relu_(self.enlarging(coarse).add_(self.joining(fine))))


class ProjectionHead(nn.Module):
    """Fields [B,8*fields,H,W] to one map [B,2H,2W]: each symmetry adds its own turned 2 x 2 kernel."""

    index: Tensor

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fields, 4) * (1 / (fields * ORDER)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("index", torch.from_numpy(_positions(2).ravel()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.weight.index_select(1, self.index).view(-1, 4).t()[:, :, None, None]
        return F.pixel_shuffle(F.conv2d(x, kernels), 2)[:, 0] + self.bias


def _normed(x: Tensor, norm: nn.BatchNorm3d) -> Tensor:
    batch, _, height, width = x.shape
    return F.relu(norm(x.view(batch, -1, ORDER, height, width)).view(x.shape))


def _folded(kernels: Tensor, norm: nn.BatchNorm3d, stride: int, padding: int) -> nn.Sequential:
    n_out, n_in, side, _ = kernels.shape
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - scale * norm.running_mean
    conv = nn.Conv2d(n_in, n_out, side, stride, padding)
    conv.weight.data = kernels * scale.repeat_interleave(ORDER)[:, None, None, None]
    conv.bias = nn.Parameter(shift.repeat_interleave(ORDER))
    return nn.Sequential(conv, nn.ReLU(inplace=True))
