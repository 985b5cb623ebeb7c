"""Do nerves lie where the mask has them? Also for traced masks, and for masks drawn in other ways."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ...ccm.cohorts import clinical_prompt
from ...ccm.frames.reading import read_frame
from ...ccm.masks import prepare_masks
from ...ccm.morphometry import centre_line_f1, measure_nerves
from ...ccm.phantom.mask import draw_mask
from ...ccm.segmentation import segment_nerves
from .. import public_tools
from .rows import Row
from .scenes import COHORTS, FIRST_SEED, Bench, Scene, Shot, write_grey
from .studio import FEW_STEPS, FOLDER, STANDARD, Frame, Sampling, Wish

DRAWN_MASKS = 6
TRACED_FRAMES = 8
SUPERCCM_FRAMES = 72


def mask_rows(bench: Bench) -> list[Row]:
    """F1 and CNFL of the frames of all cohorts, by our segmentation, and F1 by superccm."""
    traced = [trace(shot.frame) for shot in bench.grid]
    scores = [centre_line_f1(t, shot.scene.mask).f1 for t, shot in zip(traced, bench.grid, strict=True)]
    errors = np.array([_cnfl_error(t, shot) for t, shot in zip(traced, bench.grid, strict=True)])
    return [
        Row("mask_f1", "centre-line F1, our segmentation", mean(scores), "at least", 0.95),
        Row("mask_f1_lowest", "  the lowest", min(scores)),
        *(
            Row(
                f"mask_f1_{c.value.lower()}",
                f"  {c.value}",
                mean(f for f, s in zip(scores, bench.grid, strict=True) if s.cohort is c),
            )
            for c in COHORTS
        ),
        Row(
            "cnfl_error",
            "CNFL against the mask's, median error",
            float(np.median(abs(errors))),
            "at most",
            0.05,
            True,
        ),
        Row("cnfl_bias", "  bias", float(errors.mean()), share=True),
    ]


def superccm_rows(bench: Bench) -> list[Row]:
    """F1 of the first frames of the grid by superccm."""
    python = public_tools.prepare()
    shots = bench.grid[:SUPERCCM_FRAMES]
    told = public_tools.trace(python, "superccm", [shot.frame.path for shot in shots])
    scores = [
        centre_line_f1(told.skeletons[shot.frame.path], shot.scene.mask).f1
        for shot in shots
        if shot.frame.path in told.skeletons
    ]
    note = f"{len(scores)} frames, {len(told.failures)} failures"
    return [Row("mask_f1_superccm", "centre-line F1, superccm", mean(scores), "at least", 0.95, note=note)]


def real_rows(bench: Bench) -> list[Row]:
    """F1 for masks that our segmentation traced in real frames."""
    files = real_files()
    if not files:
        return [Row("mask_f1_real", "masks traced in real frames", None, note="CCM_FRAMES names no folder")]
    chosen = files[:: max(1, len(files) // TRACED_FRAMES)][:TRACED_FRAMES]
    masks = [segment_nerves(read_frame(file)[None]).mask[0].astype(np.float32) for file in chosen]
    prepared = _f1_of_drawings(bench, masks, "real_prepared", prepare=True)
    direct = _f1_of_drawings(bench, masks, "real_direct", prepare=False)
    note = f"{len(masks)} frames"
    return [
        Row("mask_f1_real", "masks traced in real frames, prepared", prepared, "at least", 0.93, note=note),
        Row("mask_f1_real_direct", "  straight into the control net", direct),
    ]


def drawn_rows(bench: Bench) -> list[Row]:
    """F1 for one and the same masks in other strokes, through Prepare Nerve Mask and straight, with few steps."""
    rows = []
    for style, draw in STYLES.items():
        drawings = [draw(scene) for scene in bench.scenes[:DRAWN_MASKS]]
        prepared, direct = (
            _f1_of_drawings(bench, drawings, f"{style}_{name}", name == "prepared", bench.scenes, FEW_STEPS)
            for name in ("prepared", "direct")
        )
        rows += [
            Row(f"mask_f1_{style}", f"{style}, prepared", prepared, "at least", 0.93),
            Row(f"mask_f1_{style}_direct", "  straight into the control net", direct),
        ]
    return rows


def _stroke(width_px: float) -> Callable[[Scene], np.ndarray]:
    return lambda scene: draw_mask(scene.tree, width_px=width_px).astype(np.float32) / 255


def _soft(scene: Scene) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(_stroke(3.0)(scene), (0, 0), 1.5)


STYLES: dict[str, Callable[[Scene], np.ndarray]] = {
    "1px": _stroke(1.0),
    "3px": _stroke(3.0),
    "7px": _stroke(7.0),
    "soft": _soft,
    "grey": lambda scene: 0.5 * _stroke(3.0)(scene),
}


def _f1_of_drawings(
    bench: Bench,
    drawings: Sequence[np.ndarray],
    name: str,
    prepare: bool,
    truths: Sequence[Scene] | None = None,
    sampling: Sampling = STANDARD,
) -> float:
    """Mean F1 of frames made from drawings [H,W]; the truth is the scene's mask, or else the drawing."""
    wishes = []
    for number, drawing in enumerate(drawings):
        used = prepare_masks(drawing[None])[0] if prepare else drawing
        file = write_grey(FOLDER / "drawn" / f"{name}_{number}.png", np.round(used * 255).astype(np.uint8))
        wishes.append(Wish(clinical_prompt(COHORTS[number % 3]), FIRST_SEED + number, file, sampling))
    frames = bench.studio.frames(wishes, name)
    masks = [d > 0.5 for d in drawings] if truths is None else [s.mask for s in truths[: len(drawings)]]
    return mean(centre_line_f1(trace(f), m).f1 for f, m in zip(frames, masks, strict=True))


def trace(frame: Frame) -> np.ndarray:
    return segment_nerves(frame.grey[None]).mask[0]


def _cnfl_error(traced: np.ndarray, shot: Shot) -> float:
    """Signed, as a share of the exact CNFL of the tree."""
    return measure_nerves(traced).cnfl_mm_per_mm2 / shot.scene.tree.truth.cnfl_mm_per_mm2 - 1


def real_files() -> list[Path]:
    """The frames in the folder that CCM_FRAMES names."""
    folder = os.environ.get("CCM_FRAMES", "")
    return sorted(Path(folder).glob("*.png")) if folder else []


def mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
