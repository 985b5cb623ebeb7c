"""Tensors on disk under the hash of everything that they were computed from.

An entry is a safetensors file that is written beside its place and moved there whole, and that carries a digest
of its own content. What is cut short, damaged or unreadable is computed again, never trusted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

DIGEST = "ccm.digest"
log = logging.getLogger(__name__)


def key_of(*parts: object) -> str:
    """Return the key of an entry: the hash of all its inputs, each of which must have a telling repr."""
    digest = hashlib.sha256()
    for part in parts:
        text = repr(part).encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class TensorCache:
    """A folder of entries; several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the entry of that key, which `make` computes where there is none that is whole."""
        found = self._read(self._path(key))
        if found is None:
            found = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
            self._write(self._path(key), found)
        return found

    def ensure(self, key: str, make: Callable[[], Mapping[str, Tensor]]) -> None:
        """Compute the entry of that key if there is none yet, without reading it."""
        if not self._path(key).is_file():
            self.get(key, make)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _read(self, path: Path) -> dict[str, Tensor] | None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                recorded = (file.metadata() or {}).get(DIGEST)
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError) as error:
            log.warning("%s cannot be read (%s); computing it again", path, error)
            return None
        if recorded != _digest(tensors):
            log.warning("%s is damaged; computing it again", path)
            return None
        return tensors

    def _write(self, path: Path, tensors: dict[str, Tensor]) -> None:
        from safetensors.torch import save

        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(save(tensors, {DIGEST: _digest(tensors)}))
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(key_of(name, tuple(tensor.shape), str(tensor.dtype)).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
