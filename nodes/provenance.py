"""`GET /ccm/provenance?name=FILE&name=...`: versions, and the SHA-256 of model files, for whoever makes a data set.

A client cannot read the files that a graph names by their place in a list. Names that are no model file are left out;
the embedded weights are always told.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from .adapter import EMBEDDED, WEIGHTS

PATH = "/ccm/provenance"


def register() -> None:
    """Add the route to the running server; without one, as in a test, do nothing."""
    instance = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if instance is None:
        return
    from aiohttp import web

    @instance.routes.get(PATH)
    async def answer(request: web.Request) -> web.Response:
        names = request.query.getall("name", [])
        return web.json_response(await asyncio.to_thread(provenance, names))


def provenance(names: Iterable[str]) -> dict[str, Any]:
    """Return versions, and the hashes of the embedded weights and of the model files of these names."""
    import comfyui_version

    found = {file.name: file for file in sorted(WEIGHTS.glob("*.safetensors"))}
    for name in names:
        found |= {f"{folder}/{name}": path for folder, path in _places(name)}
    return {
        "versions": {
            "comfyui": comfyui_version.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": _device(),
        },
        "models": {name: _sha256(path, path.stat().st_mtime_ns) for name, path in found.items()},
    }


def _places(name: str) -> Iterator[tuple[str, Path]]:
    import folder_paths

    if name in EMBEDDED:
        yield "loras", EMBEDDED[name]
        return
    for folder in folder_paths.folder_names_and_paths:
        if folder != "custom_nodes" and (path := folder_paths.get_full_path(folder, name)):
            yield folder, Path(path)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()


@lru_cache(maxsize=256)
def _sha256(path: Path, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(2**22):
            digest.update(piece)
    return digest.hexdigest()
