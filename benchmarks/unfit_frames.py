"""Generated frames that should not be measured, by kind, and ones that should."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ccm.cohorts import Cohort
from ..ccm.phantom.mask import draw_mask
from ..ccm.phantom.render import render, sample_appearance
from ..ccm.phantom.topology import grow_tree, sample_targets
from ..ccm.quality import Reason
from ..training.nano import distractors
from .analytic_frames import AnalyticFrame

SIDE = 384
FIT = 20_000  # first seed of the fit frames that the false alarms are counted on
FIRST_SEED = 7000
COHORTS = tuple(Cohort)
Maker = Callable[[int], np.ndarray]


def fit_frame(seed: int) -> AnalyticFrame:
    """A cohort phantom, and its nerves 3 pixels wide."""
    rng = np.random.default_rng((FIRST_SEED, seed))
    cohort = COHORTS[seed % len(COHORTS)]
    tree = grow_tree(sample_targets(cohort, rng), rng)
    return AnalyticFrame(render(tree, sample_appearance(cohort, rng), rng), draw_mask(tree, width_px=3) > 127)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng((FIRST_SEED + 1, seed))


def _grainy(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.gamma(40.0, 1 / 40.0, light.shape)
    return (light * noise + 0.015 * rng.standard_normal(light.shape)).clip(0, 1).astype(np.float32)


def _empty(rng: np.random.Generator) -> np.ndarray:
    y, x = np.indices((SIDE, SIDE)) / SIDE
    wave = np.cos(rng.uniform(2, 6) * x + rng.uniform(0, 6)) + np.cos(
        rng.uniform(2, 6) * y + rng.uniform(0, 6)
    )
    return rng.uniform(0.12, 0.4) * np.exp(0.15 * wave)


def no_nerves(seed: int) -> np.ndarray:
    rng = _rng(seed)
    return _grainy(_empty(rng), rng)


def epithelium(seed: int) -> np.ndarray:
    rng = _rng(seed)
    return _grainy(_empty(rng) + sum(distractors.epithelium(SIDE, rng) for _ in range(3)), rng)


def stroma(seed: int) -> np.ndarray:
    rng = _rng(seed)
    return _grainy(_empty(rng) + sum(distractors.nuclei(SIDE, rng) for _ in range(3)), rng)


def defocused(seed: int) -> np.ndarray:
    """Light out of focus, recorded with the usual grain."""
    import cv2

    rng = _rng(seed)
    return _grainy(cv2.GaussianBlur(fit_frame(seed).grey, (0, 0), rng.uniform(2.5, 5.0)), rng)


def smeared(seed: int) -> np.ndarray:
    """A sharp frame, blurred afterwards, grain and all."""
    import cv2

    return cv2.GaussianBlur(fit_frame(seed).grey, (0, 0), _rng(seed).uniform(2.0, 5.0))


def saturated(seed: int) -> np.ndarray:
    return (fit_frame(seed).grey * _rng(seed).uniform(3.0, 6.0)).clip(0, 1)


def pressure_lines(seed: int) -> np.ndarray:
    """K-structures or dark folds, clearly seen, over a fit frame."""
    rng = _rng(seed)
    kind = distractors.k_structures if seed % 2 else distractors.pressure_lines
    light = kind(SIDE, rng)
    light *= rng.uniform(0.15, 0.35) / float(np.abs(light).max())
    return (fit_frame(seed).grey + light).clip(0, 1).astype(np.float32)


KINDS: dict[str, tuple[Maker, set[Reason]]] = {  # each with the reasons that count as a hit
    "no_nerves": (no_nerves, {Reason.NO_NERVES}),
    "epithelium": (epithelium, {Reason.OUT_OF_PLANE}),
    "stroma": (stroma, {Reason.OUT_OF_PLANE}),
    "defocused": (defocused, {Reason.BLURRED, Reason.NO_NERVES, Reason.OUT_OF_PLANE}),
    "smeared": (smeared, {Reason.BLURRED}),
    "saturated": (saturated, {Reason.SATURATED}),
    "pressure_lines": (pressure_lines, {Reason.PRESSURE_LINES}),
}
