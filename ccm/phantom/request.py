"""Nerve masks on request: by cohort, by biomarker targets, or both."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..cohorts import parse_cohort
from ..errors import MaskError, TargetError
from ..images import FIELD_PX
from .mask import check_drawing, draw_mask
from .topology import grow_tree, sample_targets
from .tree import NerveTree, TreeTargets

CUSTOM = "custom"
DRAWS = 20
MOST_MASKS = 64


@dataclass(frozen=True)
class MaskRequest:
    """What masks to make.

    cohort: a cohort's name, or "custom" for the targets alone. targets: what the trees shall measure; with a
    cohort, a target of 0 is drawn from the cohort. width_px: 0 draws the nerves' own widths.
    """

    cohort: str
    targets: TreeTargets
    count: int = 1
    seed: int = 0
    size_px: int = FIELD_PX
    width_px: float = 3.0


@dataclass(frozen=True)
class GeneratedMasks:
    """Masks, float32 [B,H,W] of 0 and 1, and the exact biomarkers behind them as JSON."""

    masks: np.ndarray
    truth_json: str


def generate_masks(request: MaskRequest) -> GeneratedMasks:
    """Grow one nerve tree per mask and draw it; the same request always gives the same masks.

    Raises CohortError for an unknown cohort, TargetError for targets that no tree reaches, and MaskError for
    a count, size or width that cannot be drawn.
    """
    if request.count < 1 or request.size_px < 1:
        raise MaskError(
            f"Asked for {request.count} masks of {request.size_px} pixels", fix="ask for at least one of each"
        )
    if request.count > MOST_MASKS:
        raise MaskError(f"Asked for {request.count} masks", fix=f"ask for at most {MOST_MASKS} at a time")
    check_drawing(request.size_px, request.width_px or 1.0)
    rngs = [np.random.default_rng([request.seed, number]) for number in range(request.count)]
    trees = [_grow(request, rng) for rng in rngs]
    size = (request.size_px, request.size_px)
    drawn = [draw_mask(tree, size, request.width_px or None) >= 128 for tree in trees]
    return GeneratedMasks(np.stack(drawn).astype(np.float32), _describe(request, trees))


def _grow(request: MaskRequest, rng: np.random.Generator) -> NerveTree:
    """Grow a tree; with a cohort, what is drawn is drawn again when it does not go with what is asked."""
    if request.cohort == CUSTOM:
        return grow_tree(request.targets, rng)
    cohort = parse_cohort(request.cohort)
    asked = {name: value for name, value in asdict(request.targets).items() if value}
    problem: TargetError | None = None
    for _ in range(DRAWS):
        try:
            return grow_tree(replace(sample_targets(cohort, rng), **asked), rng)
        except TargetError as error:
            problem = error
    assert problem is not None
    raise problem


def _describe(request: MaskRequest, trees: list[NerveTree]) -> str:
    described = {
        "synthetic": True,
        "cohort": request.cohort,
        "seed": request.seed,
        "mask_size_px": request.size_px,
        "mask_width_px": request.width_px or "true widths",
        "frames": [asdict(tree.truth) for tree in trees],
    }
    return json.dumps(described, indent=2)
