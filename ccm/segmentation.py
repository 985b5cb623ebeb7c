"""Frame to nerve mask by the embedded network.

The network is a small U-Net on 2 x 2 pixel groups (space-to-depth, four levels, about one million
parameters), trained on procedural phantoms only. Frames are brought to HRT3 pixel size, normalised by their
local mean and contrast, and segmented whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import PixelSizeError, WeightsError
from .images import UM_PER_PX, check_um_per_px

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "ccm_nano_segmentation.safetensors"
WIDTHS = (24, 48, 96, 128)
THRESHOLD = 0.5
LARGEST_PX = 4096  # a mosaic of about 100 fields; resampling to more would only exhaust the memory
STRIDE = 16  # frames are padded to a multiple of this


@dataclass(frozen=True)
class NerveSegmentation:
    """`probability` float32 [B,H,W] that a pixel is nerve, and `mask` bool [B,H,W]."""

    probability: np.ndarray
    mask: np.ndarray


class SegmentationNet(nn.Module):
    """U-Net whose first level works on half the frame's resolution."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        first = widths[0]
        self.stem = _Double(4, first)
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.down = nn.ModuleList(_Double(a, b) for a, b in pairs)
        self.up = nn.ModuleList(_Double(a + b, a) for a, b in reversed(pairs))
        self.head = nn.Conv2d(first, 4, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Feature maps of every level of a normalised frame [B,1,H,W], finest first."""
        maps = [self.stem(F.pixel_unshuffle(x, 2))]
        for level in self.down:
            maps.append(level(F.max_pool2d(maps[-1], 2)))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B,H,W] of a normalised frame [B,1,H,W]; H and W are multiples of 16."""
        *skips, y = self.encode(x)
        for level, skip in zip(self.up, reversed(skips), strict=True):
            y = level(torch.cat([F.interpolate(y, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return F.pixel_shuffle(self.head(y), 2)[:, 0]


class _Double(nn.Sequential):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(*_conv(n_in, n_out), *_conv(n_out, n_out))


def _conv(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)


def normalise(grey: Tensor) -> Tensor:
    """Remove slow illumination and set the contrast of frames [B,H,W]: (x - local mean) / local deviation."""
    x = grey[:, None]
    mean = _local_mean(x)
    deviation = (_local_mean(x.square()) - mean.square()).clamp(min=0).sqrt()
    floor = 0.25 * deviation.mean(dim=(-2, -1), keepdim=True) + 1e-4
    return (x - mean) / (deviation + floor)


def _local_mean(x: Tensor, window: int = 65) -> Tensor:
    """Mean over a window about 68 um wide, computed at a quarter of the resolution, for [B,1,H,W]."""
    small = F.avg_pool2d(x, 4, 4, ceil_mode=True, count_include_pad=False)
    size = window // 4 | 1
    small = F.avg_pool2d(small, size, 1, size // 2, count_include_pad=False)
    return F.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Segmenter:
    """The embedded network and the hash of its weights."""

    net: SegmentationNet
    weights_hash: str

    @torch.inference_mode()
    def probability(self, grey: np.ndarray) -> np.ndarray:
        """Nerve probability float32 [B,H,W] of frames [B,H,W] in 0..1 at HRT3 pixel size."""
        return np.stack([self._probability(torch.from_numpy(frame).float()[None])[0] for frame in grey])

    def _probability(self, grey: Tensor) -> np.ndarray:
        height, width = grey.shape[-2:]
        pad = (0, -width % STRIDE, 0, -height % STRIDE)
        x = F.pad(normalise(grey), pad, mode="replicate")
        return torch.sigmoid(self.net(x))[:, :height, :width].numpy()

    @torch.inference_mode()
    def features(self, grey: np.ndarray) -> np.ndarray:
        """Mean and deviation of each encoder channel, [B,2*sum(widths)], of frames [B,H,W] in 0..1."""
        return np.stack([self._features(torch.from_numpy(frame).float()[None]) for frame in grey])

    def _features(self, grey: Tensor) -> np.ndarray:
        pad = (0, -grey.shape[-1] % STRIDE, 0, -grey.shape[-2] % STRIDE)
        maps = self.net.encode(F.pad(normalise(grey), pad, mode="replicate"))
        return torch.cat([s for m in maps for s in (m.mean((-2, -1))[0], m.std((-2, -1))[0])]).numpy()


@lru_cache(maxsize=4)
def load_segmenter(path: Path = WEIGHTS) -> Segmenter:
    """Load the network from a safetensors file; raises WeightsError when it is missing or damaged."""
    import hashlib

    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
        state = {k: v.float() for k, v in load(data).items()}
        with torch.inference_mode(False):
            net = SegmentationNet()
            net.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"The segmentation weights {path.name} cannot be read from {path.parent} ({error})",
            fix="restore the folder weights/ from the pack's repository",
        ) from error
    net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return Segmenter(net, hashlib.sha256(data).hexdigest())


def segment_nerves(grey: np.ndarray, um_per_px: float = UM_PER_PX) -> NerveSegmentation:
    """Segment the nerves of grey frames [B,H,W] in 0..1 taken at `um_per_px`.

    Frames of another pixel size are resampled to HRT3 pixel size for the network and the probability is
    resampled back. Raises PixelSizeError and WeightsError.
    """
    scale = check_um_per_px(um_per_px) / UM_PER_PX
    _check_field(grey.shape[-1], grey.shape[-2], um_per_px)
    segmenter = load_segmenter()
    if abs(scale - 1.0) < 0.02:
        probability = segmenter.probability(grey)
    else:
        probability = _resized(segmenter.probability(_resized(grey, scale)), 1.0, grey.shape[-2:])
    return NerveSegmentation(probability, probability > THRESHOLD)


def _check_field(width: int, height: int, um_per_px: float) -> None:
    side_um, largest_um = max(width, height) * um_per_px, LARGEST_PX * UM_PER_PX
    if um_per_px > UM_PER_PX and side_um > largest_um:
        raise PixelSizeError(
            f"A frame of {width} x {height} pixels at {um_per_px:g} um per pixel spans "
            f"{side_um / 1000:.1f} mm; expected at most {largest_um / 1000:.1f} mm",
            fix=f"use {UM_PER_PX:.4f} for an HRT3-RCM frame of 384 pixels and 400 um, or cut the frame",
        )


def _resized(stack: np.ndarray, scale: float, size: tuple[int, ...] | None = None) -> np.ndarray:
    import cv2

    height, width = size or (max(STRIDE, round(side * scale)) for side in stack.shape[-2:])
    shrinks = height < stack.shape[-2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(x.astype(np.float32), (width, height), interpolation=method) for x in stack])
