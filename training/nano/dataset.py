"""Sets of phantom pairs, made by all cores and kept on disk."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .phantoms import PhantomPair

log = logging.getLogger(__name__)

CHUNK = 50


@dataclass(frozen=True)
class PhantomSet:
    """N phantom pairs: frames, masks and nerves uint8 [N,H,W], and their captions."""

    frames: np.ndarray
    masks: np.ndarray
    nerves: np.ndarray
    captions: list[str]

    def __len__(self) -> int:
        return len(self.frames)


def phantom_set(kind: str, n: int, seed: int, cache: Path, workers: int = 2) -> PhantomSet:
    """Return n pairs of kind "generic" or "cohort", kept under `cache`; pair k depends on (seed, k)."""
    from safetensors.numpy import load_file, save_file

    path = cache / f"{kind}_{n}_{seed}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pairs = _make(kind, n, seed, workers)
        captions = np.frombuffer(json.dumps(pairs.captions).encode(), dtype=np.uint8)
        part = path.with_suffix(".part")
        save_file(
            {"frames": pairs.frames, "masks": pairs.masks, "nerves": pairs.nerves, "captions": captions}, part
        )
        part.replace(path)
    arrays = load_file(path)
    return PhantomSet(
        arrays["frames"], arrays["masks"], arrays["nerves"], json.loads(arrays["captions"].tobytes())
    )


def _make(kind: str, n: int, seed: int, workers: int) -> PhantomSet:
    starts = range(0, n, CHUNK)
    chunks = []
    with ProcessPoolExecutor(workers) as pool:
        for chunk in pool.map(partial(_chunk, kind, n, seed), starts):
            chunks.append(chunk)
            if len(chunks) % 10 == 0:
                log.info("phantoms: %d of %d %s pairs", len(chunks) * CHUNK, n, kind)
    frames, masks, nerves = (
        np.concatenate([getattr(c, name) for c in chunks]) for name in ("frames", "masks", "nerves")
    )
    return PhantomSet(frames, masks, nerves, [text for c in chunks for text in c.captions])


def _chunk(kind: str, n: int, seed: int, start: int) -> PhantomSet:
    import cv2

    cv2.setNumThreads(1)
    pairs = [_pair(kind, seed, k) for k in range(start, min(start + CHUNK, n))]
    frames, masks, nerves = (
        np.stack([_to_uint8(getattr(p, name)) for p in pairs]) for name in ("frame", "mask", "nerves")
    )
    return PhantomSet(frames, masks, nerves, [p.caption for p in pairs])


def _pair(kind: str, seed: int, k: int) -> PhantomPair:
    from . import phantoms

    rng = np.random.default_rng((seed, k))
    if kind == "generic":
        return phantoms.generic_pair(rng)
    return phantoms.cohort_pair(phantoms.COHORTS[k % len(phantoms.COHORTS)], rng)


def _to_uint8(array: np.ndarray) -> np.ndarray:
    return np.round(array.astype(np.float32) * 255).astype(np.uint8)
