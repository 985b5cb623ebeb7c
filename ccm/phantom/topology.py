"""Nerve trees of the sub-basal plexus with exact truth, grown to biomarker targets."""

from __future__ import annotations

import numpy as np

from ..cohorts import REFERENCES, Cohort, Reference
from ..errors import TargetError
from ..images import FIELD_UM
from .grower import CNFL_TOLERANCE, MIN_BRANCH_UM, MIN_MAIN_UM, Grower, Misfit
from .tree import Nerve, NerveTree, TreeTargets
from .truth import NerveTruth, measure_truth

__all__ = ["Nerve", "NerveTree", "NerveTruth", "TreeTargets", "grow_tree", "sample_targets"]

MAX_TRIES = 40


def grow_tree(
    targets: TreeTargets, rng: np.random.Generator, size_um: tuple[float, float] = (FIELD_UM, FIELD_UM)
) -> NerveTree:
    """Grow a nerve tree whose counts are exact and whose CNFL lies within 5 % of the targets.

    CNFD and CNBD are first rounded to whole fibres and branch points in the frame. What is reachable: at
    least one main fibre; a CNFL that holds 112 um per main fibre and 23 um per branch point, and that the
    fibres, branches of up to 340 um and their twigs can fill without touching (for a 400 x 400 um frame up
    to 30 mm/mm2 with 5 or more main fibres and 5 or more branch points); without branch points only what
    main fibres from edge to edge bring, about 2.5 mm/mm2 each.
    Raises TargetError where a quick count shows that it cannot be, or 40 attempts have failed.

    Strategy: main fibres first, then branches and connections until the branch points are used up, then
    branches of branches until the length is reached; an attempt that misses starts again.
    """
    area = size_um[0] * size_um[1] * 1e-6
    mains, feet = round(targets.cnfd_per_mm2 * area), round(targets.cnbd_per_mm2 * area)
    length = targets.cnfl_mm_per_mm2 * area * 1e3
    _check(targets, mains, feet, area)
    for _ in range(MAX_TRIES):
        try:
            nerves = Grower(targets, rng, size_um).grow(mains, feet, length)
        except Misfit:
            continue
        return NerveTree(size_um, nerves, measure_truth(nerves, size_um))
    raise TargetError(
        f"No nerve tree found with {_name(targets, mains, feet)}",
        fix="move CNFL, CNFD and CNBD up or down together; one main fibre in the frame brings about "
        "2.5 mm/mm2, one branch up to 2, and without branches there is nothing else to fill up with",
    )


def sample_targets(cohort: Cohort, rng: np.random.Generator) -> TreeTargets:
    """Draw targets for a 400 x 400 um frame from a cohort's reference values.

    CNFL is drawn first; CNFD, CNBD and tortuosity are correlated with it (0.7, 0.5 and -0.3, assumed). Draws
    are cut at 2 SD and then moved to the nearest values that grow_tree reaches.
    """
    reference = REFERENCES[cohort]
    severity = float(np.clip(rng.standard_normal(), -2, 2))

    def draw(value: Reference, correlation: float) -> float:
        own = np.sqrt(1 - correlation**2) * rng.standard_normal()
        return value.mean + value.sd * float(np.clip(correlation * severity + own, -2, 2))

    area = FIELD_UM**2 * 1e-6
    cnfl = float(np.clip(draw(reference.cnfl_mm_per_mm2, 1.0), 2.5, 30.0))
    length = cnfl * area * 1e3
    mains = round(draw(reference.cnfd_per_mm2, 0.7) * area)
    mains = int(np.clip(mains, max(1, np.ceil((cnfl - 12) / 4)), max(1, min(8, length // 190))))
    feet = round(draw(reference.cnbd_per_mm2, 0.5) * area)
    fewest, most = np.ceil(max(0.0, length - 340 * mains) / 180), (length - 150 * mains) // 70
    feet = int(np.clip(feet, fewest, max(fewest, most)))
    return TreeTargets(cnfl, mains / area, feet / area, max(0.5, draw(reference.tortuosity_um, -0.3)))


def _check(targets: TreeTargets, mains: int, feet: int, area: float) -> None:
    least = (mains * MIN_MAIN_UM + 0.75 * feet * MIN_BRANCH_UM) * 1e-3 / area
    if mains < 1 or feet < 0 or not least <= targets.cnfl_mm_per_mm2 * (1 + CNFL_TOLERANCE):
        raise TargetError(
            f"No nerve tree holds {_name(targets, mains, feet)} in a frame of {area:.3g} mm2",
            fix=f"ask for at least one main fibre (CNFD {1 / area:.2f} per mm2) and a CNFL of at least "
            f"{max(least, MIN_MAIN_UM * 1e-3 / area):.1f} mm/mm2",
        )


def _name(targets: TreeTargets, mains: int, feet: int) -> str:
    return (
        f"CNFL {targets.cnfl_mm_per_mm2:g} mm/mm2, CNFD {targets.cnfd_per_mm2:g} and CNBD "
        f"{targets.cnbd_per_mm2:g} per mm2 ({mains} main fibres and {feet} branch points)"
    )
