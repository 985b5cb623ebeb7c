"""The pictures of the help pages, made by the functions that the nodes call."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..ccm.cohorts import Cohort
from ..ccm.images import FIELD_PX, UM_PER_PX
from ..ccm.phantom.request import MaskRequest, generate_masks
from ..ccm.phantom.tree import TreeTargets
from ..ccm.plots.canvas import Canvas

FROM_COHORT = TreeTargets(0.0, 0.0, 0.0, 0.0)
SIDE = 256
HEAD = 30
MASKS = 8  # of each cohort in the plot


def write(folder: Path) -> list[Path]:
    """Write one JPEG for each page that has a picture."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "nerve_masks": nerve_masks(),
        "prepared_mask": prepared_mask(),
        "tracing": tracing(),
        "cohort_plot": cohort_plot(),
    }
    written = []
    for name, picture in pictures.items():
        written.append(folder / f"{name}.jpg")
        Image.fromarray(np.round(255.0 * picture).astype(np.uint8)).save(
            written[-1], quality=85, optimize=True
        )
    return written


def nerve_masks() -> np.ndarray:
    """One mask of each cohort, [H,W,3]."""
    return _side_by_side({cohort.value: _masks(cohort, 1)[0] for cohort in Cohort})


def prepared_mask() -> np.ndarray:
    """A drawing in ink on grey paper, and what Prepare Nerve Mask makes of it."""
    import cv2

    from ..ccm.masks import prepare_masks

    rng = np.random.default_rng(1)
    drawn = cv2.dilate(_masks(Cohort.CONTROL, 1, seed=4)[0], np.ones((3, 3), np.uint8))
    paper = 0.75 - 0.15 * np.linspace(0.0, 1.0, drawn.shape[0], dtype=np.float32)[:, None]
    photographed = cv2.GaussianBlur(paper * (1.0 - 0.8 * drawn), (0, 0), 1.2)
    photographed += rng.normal(0.0, 0.02, drawn.shape).astype(np.float32)
    return _side_by_side({"drawn": photographed, "prepared": prepare_masks(photographed[None])[0]})


def tracing() -> np.ndarray:
    """A phantom frame, the nerves found in it, and the biomarkers' overlay."""
    from ..ccm.morphometry.biomarkers import measure_batch
    from ..ccm.morphometry.overlay import draw_overlay
    from ..ccm.phantom.render import render, sample_appearance
    from ..ccm.phantom.topology import grow_tree, sample_targets
    from ..ccm.segmentation import load_segmenter, segment_nerves

    rng = np.random.default_rng(6)
    tree = grow_tree(sample_targets(Cohort.CONTROL, rng), rng)
    frame = render(tree, sample_appearance(Cohort.CONTROL, rng), rng)
    found = segment_nerves(frame[None], UM_PER_PX, load_segmenter()).mask.astype(np.float32)
    overlay = draw_overlay(frame, measure_batch(found, UM_PER_PX, None)[0], UM_PER_PX)
    return _side_by_side({"frame": frame, "mask": found[0], "overlay": overlay[: overlay.shape[1]]})


def cohort_plot() -> np.ndarray:
    """The plot of masks drawn from the cohorts' reference values, each a patient."""
    from ..ccm.cohort_groups import group, to_figure
    from ..ccm.equivalence.rows import read_rows
    from ..ccm.morphometry.biomarkers import measure_batch
    from ..ccm.morphometry.report import to_json

    masks = np.concatenate([_masks(cohort, MASKS) for cohort in Cohort])
    labels = "\n".join(
        ["cohort,patient", *(f"{cohort},{cohort}{n}" for cohort in Cohort for n in range(MASKS))]
    )
    return to_figure(
        group(read_rows("measured", to_json(measure_batch(masks, UM_PER_PX, None), UM_PER_PX), labels))
    )


def _masks(cohort: Cohort, count: int, seed: int = 2) -> np.ndarray:
    """Masks of a cohort at the nerves' own widths, float32 [count,384,384]."""
    return generate_masks(MaskRequest(cohort.value, FROM_COHORT, count, seed, FIELD_PX, 0.0)).masks


def _side_by_side(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Pictures [H,W] or [H,W,3] in 0..1 under their captions."""
    canvas = Canvas(len(pictures) * (SIDE + 8) - 8, SIDE + HEAD)
    for number, caption in enumerate(pictures):
        canvas.text((number * (SIDE + 8) + 2, HEAD / 2), caption)
    sheet = canvas.array().copy()
    for number, picture in enumerate(pictures.values()):
        left = number * (SIDE + 8)
        sheet[HEAD:, left : left + SIDE] = _scaled(picture)
    return sheet


def _scaled(picture: np.ndarray) -> np.ndarray:
    import cv2

    coloured = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    scaled = cv2.resize(coloured.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.clip(scaled, 0.0, 1.0)
