"""Is a generated frame good enough: traced, measured, and compared with the mask that it should follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ccm.dataset.marks import decode
from ..ccm.images import FIELD_UM
from .plan import QualityPlan


@dataclass(frozen=True)
class Verdict:
    """Why a frame is rejected, nothing if it is kept, and what was measured, ready for the manifest."""

    reasons: tuple[str, ...]
    told: dict[str, Any]


def judge(plan: QualityPlan, frame: bytes, mask: bytes | None) -> Verdict:
    """Measure a frame as the plan asks; raises ImageError for one that cannot be read."""
    grey = decode(frame)
    if grey.min() == grey.max():
        return Verdict(("one grey level",), {})
    if not plan.measure:
        return Verdict((), {})
    from ..ccm.morphometry import centre_line_f1, measure_nerves
    from ..ccm.morphometry.report import TOOL, UNITS, VERSION
    from ..ccm.segmentation import load_segmenter, segment_nerves

    um_per_px = FIELD_UM / grey.shape[1]
    found = segment_nerves(grey[None].astype(np.float32) / 255, um_per_px)
    measured = measure_nerves(found.mask[0], um_per_px)
    values = {name: getattr(measured, name) for name in UNITS}
    told: dict[str, Any] = {
        "biomarkers": {name: None if math.isnan(v) else round(v, 6) for name, v in values.items()},
        "measured_by": {"tool": TOOL, "version": VERSION, "network": load_segmenter().weights_hash[:12]},
        "quality": [str(reason) for reason in found.quality[0].reasons],
    }
    reasons = list(told["quality"]) if plan.gate else []
    if mask is not None:
        told["adherence"] = round(centre_line_f1(found.mask[0], decode(mask) >= 128).f1, 6)
        if told["adherence"] < plan.least_adherence:
            reasons.append(f"adherence {told['adherence']:.2f}, below {plan.least_adherence:g}")
    return Verdict(tuple(reasons), told)
