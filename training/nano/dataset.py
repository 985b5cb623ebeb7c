"""Sets of phantom pairs, made by all cores and kept on disk."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...ccm.images import FIELD_PX
from ...ccm.parallel import map_processes

if TYPE_CHECKING:
    from .phantoms import PhantomPair

log = logging.getLogger(__name__)

CHUNK = 50
PLANES = {"frames": "frame", "lights": "light", "masks": "mask", "nerves": "nerves"}  # of a pair
CAPTIONS = "captions.json"


@dataclass(frozen=True)
class PhantomSet:
    """N phantom pairs: planes uint8 [N,H,W], read from the disk as they are used, and captions."""

    frames: np.ndarray
    lights: np.ndarray
    masks: np.ndarray
    nerves: np.ndarray
    captions: list[str]

    def __len__(self) -> int:
        return len(self.frames)


def phantom_set(kind: str, n: int, seed: int, cache: Path) -> PhantomSet:
    """Return n pairs of kind "generic" or "cohort", kept under `cache`; pair k depends on (seed, k)."""
    folder = cache / f"{kind}_{n}_{seed}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _make(kind, n, seed, part)
        part.rename(folder)
    planes = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in PLANES}
    return PhantomSet(**planes, captions=json.loads((folder / CAPTIONS).read_text("utf-8")))


def _make(kind: str, n: int, seed: int, folder: Path) -> None:
    shape = (n, FIELD_PX, FIELD_PX)
    planes = [
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype=np.uint8, shape=shape)
        for name in PLANES
    ]
    captions: list[str] = []
    chunks = [range(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    for chunk, (made, texts) in zip(chunks, map_processes(partial(_chunk, kind, seed), chunks), strict=True):
        for plane, part in zip(planes, made, strict=True):
            plane[chunk.start : chunk.stop] = part
        captions += texts
        if len(captions) % (10 * CHUNK) == 0:
            log.info("phantoms: %d of %d %s pairs", len(captions), n, kind)
    for plane in planes:
        plane.flush()
    (folder / CAPTIONS).write_text(json.dumps(captions), "utf-8")


def _chunk(kind: str, seed: int, numbers: Sequence[int]) -> tuple[list[np.ndarray], list[str]]:
    """The planes uint8 [n,H,W] and the captions of these pairs."""
    pairs = [_pair(kind, seed, k) for k in numbers]
    planes = [np.stack([_to_uint8(getattr(p, PLANES[name])) for p in pairs]) for name in PLANES]
    return planes, [p.caption for p in pairs]


def _pair(kind: str, seed: int, k: int) -> PhantomPair:
    from . import phantoms

    rng = np.random.default_rng((seed, k))
    if kind == "generic":
        return phantoms.generic_pair(rng)
    return phantoms.cohort_pair(phantoms.COHORTS[k % len(phantoms.COHORTS)], rng)


def _to_uint8(array: np.ndarray) -> np.ndarray:
    return np.round(array.astype(np.float32) * 255).astype(np.uint8)
