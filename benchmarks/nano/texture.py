"""Is the grain of generated frames that of phantoms of the same trees? And what does the base draw alone?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...ccm.cohorts import REFERENCES, Cohort, clinical_prompt
from ...ccm.images import UM_PER_PX
from ...ccm.morphometry import measure_nerves
from ...ccm.morphometry.graph import measure_graph
from ...ccm.segmentation import segment_nerves
from .adherence import mean, trace
from .looks import BANDS, radial_power, speckle_contrast
from .rows import Row
from .scenes import COHORTS, FIRST_SEED, Bench, Scene
from .studio import Wish

UNMASKED = 8  # frames of each cohort
LONG_UM = 150.0
SPREADS = 2.0  # standard deviations that count as a cohort's range


def texture_rows(bench: Bench) -> list[Row]:
    """Deviations from the phantoms, each of the mean over frames."""
    pairs = [(shot.frame.grey, shot.scene) for shot in bench.matched]

    def ratio(measure: Callable[[np.ndarray, Scene], float | np.ndarray]) -> np.ndarray:
        made, real = (
            np.stack([np.asarray(measure(grey, scene)) for grey, scene in side]).mean(axis=0)
            for side in (pairs, [(scene.phantom, scene) for _, scene in pairs])
        )
        return made / real

    deviation = float(ratio(lambda grey, _: grey.std()))
    speckle = float(ratio(lambda grey, scene: speckle_contrast(grey, scene.mask)))
    power = ratio(lambda grey, _: radial_power(grey))
    worst = int(np.abs(power - 1).argmax())
    scale = f"{1 / BANDS[worst + 1]:.1f} to {1 / BANDS[worst]:.1f} px per cycle: {power[worst] - 1:+.0%}"
    return [
        Row(
            "grey_std_off",
            "grey standard deviation off the phantoms'",
            abs(deviation - 1),
            "at most",
            0.1,
            True,
            f"{deviation - 1:+.1%}",
        ),
        Row(
            "power_off",
            "radial power spectrum, mean over 12 bands",
            float(np.abs(power - 1).mean()),
            "at most",
            0.1,
            True,
            f"worst at {scale}",
        ),
        Row("speckle_off", "speckle contrast", abs(speckle - 1), "at most", 0.1, True, f"{speckle - 1:+.1%}"),
    ]


def unmasked_rows(bench: Bench) -> list[Row]:
    """What the base draws without a mask, with the adapter and the cohort's prompt."""
    wishes = [
        Wish(clinical_prompt(cohort), FIRST_SEED + number, None)
        for cohort in COHORTS
        for number in range(UNMASKED)
    ]
    frames = bench.studio.frames(wishes, "frames without a mask")
    traced = [trace(frame) for frame in frames]
    cnfl = [measure_nerves(mask).cnfl_mm_per_mm2 for mask in traced]
    asked = [cohort for cohort in COHORTS for _ in range(UNMASKED)]
    inside = [_in_range(value, cohort) for value, cohort in zip(cnfl, asked, strict=True)]
    shown = ", ".join(
        f"{c} {mean(v for v, a in zip(cnfl, asked, strict=True) if a is c):.1f}" for c in COHORTS
    )
    phantoms = mean(
        long_share(segment_nerves(scene.phantom[None]).mask[0]) for scene in bench.scenes[: len(frames)]
    )
    return [
        Row(
            "unmasked_cnfl_in_range",
            f"CNFL within {SPREADS:g} SD of the cohort",
            mean(inside),
            "at least",
            0.9,
            True,
            f"mean mm/mm2: {shown}",
        ),
        Row(
            "unmasked_long_share",
            f"length in nerves of {LONG_UM:g} um or more",
            mean(map(long_share, traced)),
            "at least",
            0.9 * phantoms,
            True,
            f"phantoms {phantoms:.0%}",
        ),
    ]


def _in_range(cnfl: float, cohort: Cohort) -> bool:
    known = REFERENCES[cohort].cnfl_mm_per_mm2
    return abs(cnfl - known.mean) <= SPREADS * known.sd


def long_share(mask: np.ndarray) -> float:
    """Share of the nerve length in a mask that belongs to long nerves; worms and fragments do not."""
    lengths = [nerve.length_um for nerve in measure_graph(mask, UM_PER_PX).nerves]
    return sum(length for length in lengths if length >= LONG_UM) / max(sum(lengths), 1e-6)
