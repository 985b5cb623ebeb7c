"""The nodes that measure: nerve segmentation, biomarkers, fidelity."""

from __future__ import annotations

from comfy_api.latest import io

NODES: list[type[io.ComfyNode]] = []
