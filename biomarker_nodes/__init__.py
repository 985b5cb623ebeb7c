"""The nodes that measure: frames, nerve segmentation, quality, biomarkers, fidelity,
similarity, copies, equivalence, report, cohorts."""

from __future__ import annotations

from comfy_api.latest import io

from .biomarkers import NerveBiomarkers
from .cohort_plot import CohortPlot
from .copies import FindCopies
from .equivalence import Equivalence
from .fidelity import Fidelity
from .load_frames import LoadFrames
from .report import Report
from .segment import FrameQuality, SegmentNerves
from .similarity import PairedSimilarity

NODES: list[type[io.ComfyNode]] = [
    LoadFrames,
    SegmentNerves,
    FrameQuality,
    NerveBiomarkers,
    Fidelity,
    PairedSimilarity,
    FindCopies,
    Equivalence,
    Report,
    CohortPlot,
]
