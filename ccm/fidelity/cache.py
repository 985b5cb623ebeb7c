"""Features on disk under the hash of the frame and of the network, so that no frame is looked at twice."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from .features import FeatureExtractor


class CachedExtractor:
    """An extractor that keeps each frame's features in a file; several processes may share the folder.

    The name of the file is the hash of extractor (name, weights, resampling) and of the pixels, so a change of
    either is never answered with old features. A file that cannot be read is computed again.
    """

    def __init__(self, extractor: FeatureExtractor, folder: Path) -> None:
        self.name, self.hash, self.resize = extractor.name, extractor.hash, extractor.resize
        self.turns_alike = extractor.turns_alike
        self._extractor = extractor
        self._folder = folder

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        files = [self._file(frame) for frame in grey]
        found = [_read(file) for file in files]
        missing = [index for index, features in enumerate(found) if features is None]
        if missing:
            for index, features in zip(missing, self._extractor(grey[missing]), strict=True):
                found[index] = features
                _write(files[index], features)
        return np.stack([features for features in found if features is not None])

    def _file(self, frame: np.ndarray) -> Path:
        pixels = np.ascontiguousarray(frame, dtype=np.float32)
        digest = hashlib.sha256(repr((self.name, self.hash, self.resize, pixels.shape)).encode())
        digest.update(pixels.tobytes())
        return self._folder / f"{digest.hexdigest()}.npy"


def _read(file: Path) -> np.ndarray | None:
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there yet, or damaged
        return None


def _write(file: Path, features: np.ndarray) -> None:
    """Write beside the place and move there whole, so that no reader ever sees half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=file.parent, suffix=".part")
    with os.fdopen(handle, "wb") as out:
        np.save(out, features, allow_pickle=False)
    os.replace(beside, file)
