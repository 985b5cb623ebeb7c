"""The nodes that measure: nerve segmentation, biomarkers, fidelity."""

from __future__ import annotations

from comfy_api.latest import io

from .biomarkers import NerveBiomarkers
from .fidelity import Fidelity
from .segment import SegmentNerves

NODES: list[type[io.ComfyNode]] = [SegmentNerves, NerveBiomarkers, Fidelity]
