"""Phantom pairs for training CCM-nano: frame, mask as a user would draw it, and a caption.

Two kinds: generic pairs, drawn from ranges far wider than any cohort and captioned by what is visible,
train the base; cohort pairs, captioned by the clinical prompt, train the adapter.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from ...ccm.cohorts import NEGATIVE_PROMPT, Cohort, clinical_prompt
from ...ccm.errors import TargetError
from ...ccm.phantom.mask import draw_mask
from ...ccm.phantom.render import (
    Appearance,
    render,
    sample_appearance,
    sample_generic_appearance,
    without_grain,
)
from ...ccm.phantom.topology import NerveTree, TreeTargets, grow_tree, sample_targets

COHORTS = tuple(Cohort)


@dataclass(frozen=True)
class PhantomPair:
    """`frame` and `mask` float32 [H,W] in 0..1, `nerves` bool [H,W]: the true nerve area.

    `light` float32 [H,W] is the frame as it would be without grain.
    """

    frame: np.ndarray
    light: np.ndarray
    mask: np.ndarray
    nerves: np.ndarray
    caption: str
    cohort: Cohort | None


def generic_pair(rng: np.random.Generator) -> PhantomPair:
    """A pair of the base model's kind: any density, any look, captioned by what is visible."""
    tree = _grow(_generic_targets, rng)
    appearance = sample_generic_appearance(rng)
    return _pair(tree, appearance, _describe(tree, appearance, rng), None, rng)


def cohort_pair(cohort: Cohort, rng: np.random.Generator) -> PhantomPair:
    """A pair of the adapter's kind: a cohort's topology and look, captioned by its clinical prompt."""
    tree = _grow(lambda r: sample_targets(cohort, r), rng)
    return _pair(tree, sample_appearance(cohort, rng), clinical_prompt(cohort), cohort, rng)


def style_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary a mask [H,W] as users do: brightness, softness, a little thickness."""
    import cv2

    styled = mask.astype(np.float32)
    if rng.random() < 0.3:
        styled = cv2.dilate(styled, np.ones((3, 3), np.uint8))
    if rng.random() < 0.4:
        styled = cv2.GaussianBlur(styled, (0, 0), rng.uniform(0.5, 1.2))
    return styled * (rng.uniform(0.6, 1.0) if rng.random() < 0.3 else 1.0)


def _grow(targets, rng: np.random.Generator) -> NerveTree:
    """Grow a tree, drawing new targets when the old ones cannot be reached."""
    for _ in range(50):
        try:
            return grow_tree(targets(rng), rng)
        except TargetError:
            continue
    raise TargetError("50 draws of biomarker targets were out of reach", fix="widen the ranges")


def _generic_targets(rng: np.random.Generator) -> TreeTargets:
    mains = rng.integers(1, 9)
    branches = rng.integers(0, 13)
    length_mm = mains * rng.uniform(0.28, 0.42) + branches * rng.uniform(0.05, 0.1)
    return TreeTargets(
        cnfl_mm_per_mm2=length_mm / 0.16,
        cnfd_per_mm2=mains / 0.16,
        cnbd_per_mm2=branches / 0.16,
        tortuosity=rng.uniform(1.0, 9.0),
    )


def _pair(
    tree: NerveTree, appearance: Appearance, caption: str, cohort: Cohort | None, rng: np.random.Generator
) -> PhantomPair:
    light = render(tree, without_grain(appearance), deepcopy(rng))
    frame = render(tree, appearance, rng)
    nerves = draw_mask(tree) > 0
    mask = style_mask(draw_mask(tree, width_px=float(rng.choice([2, 3, 3, 3, 4]))) > 0, rng)
    turn, mirror = int(rng.integers(4)), rng.random() < 0.5
    frame, light, mask, nerves = (_turned(a, turn, mirror) for a in (frame, light, mask, nerves))
    return PhantomPair(frame, light, mask, nerves, caption, cohort)


def _turned(array: np.ndarray, turn: int, mirror: bool) -> np.ndarray:
    turned = np.rot90(array, turn)
    return np.ascontiguousarray(turned[:, ::-1] if mirror else turned)


def _level(value: float, low: float, high: float, words: tuple[str, str, str]) -> str:
    return words[0] if value < low else words[2] if value > high else words[1]


def _describe(tree: NerveTree, a: Appearance, rng: np.random.Generator) -> str:
    """Name some of what is visible, in random order."""
    t = tree.truth
    phrases = [
        _level(a.background, 0.25, 0.4, ("dark background", "grey background", "light background")),
        _level(a.nerve_contrast, 0.4, 0.58, ("faint fibres", "clear fibres", "bright fibres")),
        _level(a.width_factor, 0.9, 1.25, ("thin fibres", "medium fibres", "thick fibres")),
        _level(a.beading, 0.2, 0.45, ("smooth fibres", "beaded fibres", "strongly beaded fibres")),
        _level(a.speckle, 0.13, 0.22, ("fine grain", "grain", "strong grain")),
        _level(a.haze, 0.1, 0.2, ("even background", "cloudy background", "hazy background")),
        _level(a.mosaic, 0.05, 0.1, ("without cells", "cell mosaic", "strong cell mosaic")),
        _level(
            a.dendritic_cells, 1, 2, ("no dendritic cells", "few dendritic cells", "many dendritic cells")
        ),
        _level(a.k_structures, 1, 1, ("no bands", "broad band", "many broad bands")),
        _level(t.cnfl_mm_per_mm2, 9.0, 18.0, ("sparse", "moderate density", "dense")),
    ]
    rng.shuffle(phrases)
    return ", ".join(["microscopy frame", *phrases[: rng.integers(2, len(phrases) + 1)]])


def describe_phantom(rng: np.random.Generator) -> str:
    """A caption of the base's kind, without its frame."""
    tree = _grow(_generic_targets, rng)
    return _describe(tree, sample_generic_appearance(rng), rng)


def vocabulary() -> list[str]:
    """Every word that training captions and clinical prompts use, sorted."""
    from ...ccm.prompt_encoder import WORD

    texts = [clinical_prompt(c) for c in COHORTS] + [c.value for c in COHORTS] + [NEGATIVE_PROMPT]
    for seed in range(400):
        texts.append(describe_phantom(np.random.default_rng(seed)))
    return sorted({word for text in texts for word in WORD.findall(text.lower())})
