"""Frame to nerve mask by the embedded network.

The network is a small U-Net of group convolutions (`equivariant`), so that a turned or mirrored frame gives the
turned or mirrored mask; it was trained on procedural phantoms only. Frames are brought to HRT3 pixel size, freed of
their tone curve, normalised by their local mean and contrast, and segmented whole; mosaics of more than 1024 pixels
in tiles that overlap so far that no seam can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .equivariant import ORDER, GroupBlock, JoiningBlocks, LiftingBlock, ProjectionHead
from .errors import PixelSizeError, WeightsError
from .images import UM_PER_PX, check_um_per_px
from .quality import FrameQuality, assess_quality

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "ccm_nano_segmentation.safetensors"
FIELDS = (2, 4, 10, 16, 20)  # of eight channels each
THRESHOLD = 0.45  # lower than one half: faint nerves are found alike at half the size and under noise
SPECK_PX = 12  # 12.5 um across the bounding box
LARGEST_PX = 4096  # a mosaic of about 100 fields; resampling to more would only exhaust the memory
STRIDE = 32  # frames are padded to a multiple of this
LEVELS = 65536  # grey levels that are told apart
SOFTENING_PX = 0.6  # finer than any nerve: a frame's noise must not decide about its faintest nerves
TILE, HALO = 1024, 192  # pixels of a mosaic beyond HALO do not reach a tile; both are multiples of STRIDE


@dataclass(frozen=True)
class NerveSegmentation:
    """`probability` float32 [B,H,W] that a pixel is nerve, `mask` bool [B,H,W] of those above 0.45, each quality."""

    probability: np.ndarray
    mask: np.ndarray
    quality: tuple[FrameQuality, ...]


class Network(Protocol):
    """What segments: the embedded network (Segmenter) or a user's own (own_network.OwnNetwork)."""

    @property
    def weights_hash(self) -> str: ...

    def probability(self, grey: np.ndarray) -> np.ndarray:
        """Nerve probability float32 [B,H,W] of frames [B,H,W] in 0..1 at HRT3 pixel size."""
        ...


class SegmentationNet(nn.Module):
    """U-Net of five levels whose answer turns with the frame; its first level works on half the resolution."""

    def __init__(self, fields: tuple[int, ...] = FIELDS) -> None:
        super().__init__()
        pairs = list(zip(fields[:-1], fields[1:], strict=True))
        self.stem = nn.Sequential(LiftingBlock(fields[0]), GroupBlock(fields[0], fields[0]))
        self.down = nn.ModuleList(_double(a, b) for a, b in pairs)
        self.up = nn.ModuleList(JoiningBlocks(b, a) for a, b in reversed(pairs))
        self.head = ProjectionHead(fields[0])

    def encode(self, x: Tensor) -> list[Tensor]:
        """Feature maps of every level of a normalised frame [B,1,H,W], finest first."""
        maps = [self.stem(x)]
        for level in self.down:
            maps.append(level(F.max_pool2d(maps[-1], 2)))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B,H,W] of a normalised frame [B,1,H,W]; H and W are multiples of 32."""
        *skips, y = self.encode(x)
        for level, skip in zip(self.up, reversed(skips), strict=True):
            y = level(y, skip)
        return self.head(y)

    def fold(self) -> SegmentationNet:
        """Turn every block into a plain convolution, in place: the same answer, sooner, but no more training."""
        for level in (self.stem, *self.down):
            assert isinstance(level, nn.Sequential)
            for k, block in enumerate(level):
                assert isinstance(block, (LiftingBlock, GroupBlock))
                level[k] = block.folded()
        for k, level in enumerate(self.up):
            assert isinstance(level, JoiningBlocks)
            self.up[k] = level.folded()
        return self.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _double(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(GroupBlock(n_in, n_out), GroupBlock(n_out, n_out))


def prepared(grey: np.ndarray) -> np.ndarray:
    """What is segmented of a frame [H,W] in 0..1: its ranks, softened."""
    import cv2

    return cv2.GaussianBlur(even_tone(grey), (0, 0), SOFTENING_PX)


def even_tone(grey: np.ndarray) -> np.ndarray:
    """Give each grey level of a frame [H,W] in 0..1 the normal quantile of its rank, float32 [H,W].

    So gain, offset and gamma, and whatever else keeps the order of the grey levels, change nothing, as long as
    none saturate and 16 bits tell them apart.
    """
    from scipy.special import ndtri

    levels = np.rint(grey.clip(0.0, 1.0) * (LEVELS - 1)).astype(np.uint16)
    counts = np.bincount(levels.ravel(), minlength=LEVELS)
    found = np.flatnonzero(counts)
    tones = np.zeros(LEVELS, np.float32)
    tones[found] = ndtri((counts.cumsum()[found] - 0.5 * counts[found]) / levels.size)
    return tones[levels]


def normalise(grey: Tensor) -> Tensor:
    """Remove slow illumination and set the contrast of frames [B,H,W]: (x - local mean) / local deviation."""
    x = grey[:, None]
    mean = _local_mean(F.avg_pool2d(x, 4, 4, ceil_mode=True, count_include_pad=False))
    square = _local_mean(F.avg_pool2d(x.square(), 4, 4, ceil_mode=True, count_include_pad=False))
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    scale = 1.0 / (deviation + 0.25 * deviation.mean(dim=(-2, -1), keepdim=True) + 1e-4)
    shape = x.shape[-2:]
    return (x - _enlarged(mean, shape)) * _enlarged(scale, shape)


def _local_mean(small: Tensor) -> Tensor:
    """Mean over a window about 70 um wide of what was brought to a quarter of the resolution, [B,1,h,w]."""
    rows = F.avg_pool2d(small, (1, 17), 1, (0, 8), count_include_pad=False)
    return F.avg_pool2d(rows, (17, 1), 1, (8, 0), count_include_pad=False)


def _enlarged(small: Tensor, shape: torch.Size) -> Tensor:
    return F.interpolate(small, size=shape, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Segmenter:
    """The embedded network and the hash of its weights."""

    net: SegmentationNet
    weights_hash: str

    @torch.inference_mode()
    def probability(self, grey: np.ndarray) -> np.ndarray:
        """Nerve probability float32 [B,H,W] of frames [B,H,W] in 0..1 at HRT3 pixel size."""
        return np.stack([self._probability(frame) for frame in grey])

    def _probability(self, grey: np.ndarray) -> np.ndarray:
        padded, inside = _padded(normalise(torch.from_numpy(prepared(grey))[None]))
        found = self.logits(padded)[inside].sigmoid_().numpy()
        _lower_specks(found)
        return found

    def logits(self, padded: Tensor) -> Tensor:
        """Logits [H,W] of a normalised frame [1,1,H,W], those of a mosaic tile by tile: the same, in less memory."""
        height, width = padded.shape[-2:]
        found = torch.empty(height, width)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                rows = slice(max(0, top - HALO), top + TILE + HALO)
                columns = slice(max(0, left - HALO), left + TILE + HALO)
                part = self.net(padded[..., rows, columns])[0, top - rows.start :, left - columns.start :]
                place = found[top : top + TILE, left : left + TILE]
                place.copy_(part[: place.shape[0], : place.shape[1]])
        return found

    @torch.inference_mode()
    def features(self, grey: np.ndarray) -> np.ndarray:
        """Mean and deviation of each encoder field over places and turns, [B,104], of frames [B,H,W] in 0..1.

        They are the same for a frame and the frame turned.
        """
        return np.stack([self._features(frame) for frame in grey])

    def _features(self, grey: np.ndarray) -> np.ndarray:
        seen = normalise(torch.from_numpy(even_tone(grey))[None])
        maps = [m.reshape(-1, ORDER, *m.shape[2:]) for m in self.net.encode(_padded(seen)[0])]
        return torch.cat([s for m in maps for s in (m.mean((1, 2, 3)), m.std((1, 2, 3)))]).numpy()


def _lower_specks(probability: np.ndarray) -> None:
    """Lower to the threshold what stands above it, alone, over less than SPECK_PX: it comes and goes with the noise."""
    import cv2

    above = (probability > THRESHOLD).astype(np.uint8)
    _, found, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    speck = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) < SPECK_PX
    for number in np.flatnonzero(speck[1:]) + 1:
        left, top, width, height = stats[number, :4]  # its box
        part = slice(top, top + height), slice(left, left + width)
        probability[part][found[part] == number] = THRESHOLD


def _padded(x: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
    """Pad a frame [B,1,H,W] evenly on all sides to multiples of STRIDE; also where in it the frame lies."""
    height, width = x.shape[-2:]
    top, left = (-height % STRIDE) // 2, (-width % STRIDE) // 2
    pad = (left, -width % STRIDE - left, top, -height % STRIDE - top)
    return F.pad(x, pad, mode="replicate"), (slice(top, top + height), slice(left, left + width))


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
    return Segmenter(net.eval().fold(), hashlib.sha256(data).hexdigest())


def segment_nerves(
    grey: np.ndarray, um_per_px: float = UM_PER_PX, network: Network | None = None
) -> NerveSegmentation:
    """Segment the nerves of grey frames [B,H,W] in 0..1 taken at `um_per_px`, by the embedded network or another.

    Frames of another pixel size are resampled to HRT3 pixel size for the network and the probability is
    resampled back. Raises PixelSizeError, WeightsError, and NetworkError for a network of the user's own.
    """
    scale = check_um_per_px(um_per_px) / UM_PER_PX
    _check_field(grey.shape[-1], grey.shape[-2], um_per_px)
    network = network or load_segmenter()
    if abs(scale - 1.0) < 0.02:
        probability = network.probability(grey)
        quality = assess_quality(grey, probability)
    else:
        seen = _resized(grey, scale)
        found = network.probability(seen)
        quality, probability = assess_quality(seen, found), _resized(found, 1.0, grey.shape[-2:])
    return NerveSegmentation(probability, probability > THRESHOLD, quality)


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
