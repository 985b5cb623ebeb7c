"""Frames -> feature vectors, and where those vectors came from.

A distance between feature sets means something only if both come from the same network, the same weights and
the same resampling; so every set carries its ExtractorId, and a metric refuses two that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import ExtractorError, ImageError
from ..images import FIELD_PX

if TYPE_CHECKING:
    from torch import Tensor

    from ..segmentation import Segmenter

NERVE_ENCODER = "embedded nerve encoder"
BATCH = 16  # frames at once: 18 MB of 384 x 384 float64, and frequent progress


class Frames(Protocol):
    """Grey frames in 0..1: an array [N,H,W], or files that are read when a slice of them is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


class FeatureExtractor(Protocol):
    """A network that turns frames into feature vectors."""

    name: str
    hash: str  # sha256 of the weights, hexadecimal
    resize: str  # how a frame is brought to the network's input size
    turns_alike: bool  # whether a turned or mirrored square frame has the same features

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        """Turn frames [B,H,W] in 0..1 into features [B,d]."""
        ...


@dataclass(frozen=True)
class ExtractorId:
    """Which network, which weights and which resampling made a set of features."""

    name: str
    hash: str
    resize: str

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.hash[:12]}; {self.resize})"


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of one set of frames: values [N,d], and the subject (patient) of each frame where known."""

    values: np.ndarray
    extractor: ExtractorId
    subjects: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.values.shape
        if self.values.ndim != 2 or 0 in shape:
            raise ImageError(
                f"Features have shape {shape}; expected [frames, features]", fix="pass one row a frame"
            )
        if not np.isfinite(self.values).all():
            raise ExtractorError(
                f"{self.extractor.name} gave NaN or infinite features", fix="use another extractor file"
            )
        if self.subjects is not None and len(self.subjects) != len(self.values):
            raise ImageError(
                f"{len(self.subjects)} subjects were named for {len(self.values)} frames",
                fix="name one subject per frame",
            )

    def __len__(self) -> int:
        return len(self.values)


def extract(
    extractor: FeatureExtractor,
    grey: Frames,
    subjects: Sequence[str] | None = None,
    on_batch: Callable[[int], None] = lambda frames: None,
) -> FeatureSet:
    """Run the extractor over frames [N,H,W] in 0..1; `on_batch` hears how many frames are done."""
    parts = []
    for start in range(0, len(grey), BATCH):
        batch = grey[start : start + BATCH]
        parts.append(np.asarray(extractor(batch), dtype=np.float64))
        on_batch(len(batch))
    return FeatureSet(
        np.concatenate(parts),
        ExtractorId(extractor.name, extractor.hash, extractor.resize),
        None if subjects is None else tuple(subjects),
    )


def check_comparable(a: FeatureSet, b: FeatureSet) -> None:
    """Raise ExtractorError unless one extractor made both sets, ImageError unless both hold two frames."""
    if a.extractor != b.extractor or a.values.shape[1] != b.values.shape[1]:
        raise ExtractorError(
            f"The sets come from different extractors: {a.extractor} and {b.extractor}",
            fix="extract both sets with one extractor; distances of different extractors cannot be compared",
        )
    for name, one in (("first", a), ("second", b)):
        if len(one) < 2:
            raise ImageError(
                f"The {name} set holds {len(one)} frame; a spread needs at least 2",
                fix="pass at least 2 frames per set, for a usable answer 100 or more",
            )


class NerveEncoder:
    """Features of the pack's own nerve segmentation network; works offline.

    Frames of another size than 384 x 384 are resampled to it, so that one field of view fills the network's
    input.
    """

    name = NERVE_ENCODER
    resize = f"antialiased bilinear to {FIELD_PX} x {FIELD_PX}"
    turns_alike = True

    def __init__(self, segmenter: Segmenter) -> None:
        self.hash: str = segmenter.weights_hash
        self._segmenter = segmenter

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        return self._segmenter.features(resample(grey, FIELD_PX))


def load_nerve_encoder() -> NerveEncoder:
    """Load the embedded segmentation network; raises WeightsError if its file is missing or damaged."""
    from ..segmentation import load_segmenter

    return NerveEncoder(load_segmenter())


def resample(grey: np.ndarray, size: int) -> np.ndarray:
    """Resample frames [B,H,W] to [B,size,size], bilinear and antialiased; that size already is left alone."""
    import torch
    from torch.nn.functional import interpolate

    if grey.shape[1:] == (size, size):
        return grey
    frames: Tensor = torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32))[:, None]
    return interpolate(frames, (size, size), mode="bilinear", antialias=True)[:, 0].numpy()
