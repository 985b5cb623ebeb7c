"""The nodes that generate: base model, adapter, conditioning, masks."""

from __future__ import annotations

from comfy_api.latest import io

from .adapter import LoadAdapter

NODES: list[type[io.ComfyNode]] = [LoadAdapter]
