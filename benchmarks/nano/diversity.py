"""Do seeds differ, do frames cover what phantoms show, and does the model copy what it was trained on?"""

from __future__ import annotations

import numpy as np

from ...ccm.fidelity.memorisation import memorisation
from ...ccm.fidelity.prdc import prdc
from ...ccm.morphometry import centre_line_f1
from .adherence import mean, trace
from .looks import NEAR_PX, distance_to
from .rows import Row
from .scenes import Bench

SEEDS = 16


def diversity_rows(bench: Bench) -> list[Row]:
    """One mask with many seeds; then all frames beside phantoms of other patients, and beside training ones."""
    scene = bench.scenes[0]
    shots = bench.shots([(scene, scene.cohort, seed) for seed in range(SEEDS)], "one mask, many seeds")
    ground = distance_to(scene.mask) > NEAR_PX
    texture = np.corrcoef([shot.frame.grey[ground] for shot in shots])
    alike = float(texture[np.triu_indices(SEEDS, 1)].mean())
    nerves = mean(centre_line_f1(trace(shot.frame), scene.mask).f1 for shot in shots)
    made = bench.features([shot.frame.grey for shot in bench.matched], "features of generated frames")
    held = bench.heldout_features
    half = len(made)
    some, others = (
        type(held)(held.values[part], held.extractor) for part in (slice(half), slice(half, 2 * half))
    )
    ceiling = prdc(some, others).coverage
    copies = memorisation(made, [bench.training_features], held)
    return [
        Row(
            "seed_correlation",
            f"one mask, {SEEDS} seeds: correlation of the backgrounds",
            alike,
            "at most",
            0.3,
        ),
        Row("seed_f1", "  centre-line F1", nerves),
        Row(
            "coverage",
            "coverage of phantoms",
            prdc(some, made).coverage,
            "at least",
            0.8,
            note=f"other phantoms {ceiling:.2f}",
        ),
        Row(
            "copies",
            "training copies (NNDR)",
            float(len(copies.copies)),
            "at most",
            float(np.ceil(2 * copies.quantile * half)),
            note=f"of {half}; {copies.n_training} training phantoms, turned and mirrored",
        ),
    ]
