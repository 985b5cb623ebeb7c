"""The pictures of a data card: a contact sheet, and the values of a biomarker by cohort."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..ccm.cohorts import ASSUMED, REFERENCES, parse_cohort
from ..ccm.dataset.marks import NOTE, SYNTHETIC, mark
from ..ccm.frames.reading import read_frame
from ..ccm.plots.canvas import BAND, BLUE, FAINT, INK, Axis, Canvas

TILE, GAP, LABEL, TOP = 150, 6, 90, 44
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 420, 70, 60
LEAST_WIDTH = 560  # for the heading
MOST_DOTS = 400  # of a cohort; more would only hide each other


def contact_sheet(root: Path, cohorts: Mapping[str, Sequence[tuple[str, str]]]) -> bytes:
    """Draw frames, and below each its mask, a pair of rows for each cohort; as a marked PNG file."""
    columns = max(len(files) for files in cohorts.values())
    masks = any(mask for files in cohorts.values() for _, mask in files)
    row_height = (2 if masks else 1) * (TILE + GAP) + GAP
    canvas = Canvas(max(LABEL + columns * (TILE + GAP) + GAP, LEAST_WIDTH), TOP + len(cohorts) * row_height)
    canvas.text((12, 22), f"Frames and their nerve masks; {NOTE}")
    for row, (cohort, files) in enumerate(cohorts.items()):
        y = TOP + row * row_height
        canvas.text((12, y + TILE / 2), cohort)
        for column, pair in enumerate(files):
            for below, name in enumerate(filter(None, pair)):
                at = (LABEL + column * (TILE + GAP), y + below * (TILE + GAP))
                canvas.paste(read_frame(root / name), at, TILE)
    return _png(canvas)


def by_cohort(values: Mapping[str, Sequence[float]], name: str, title: str) -> bytes:
    """Draw a dot per frame, mean and standard deviation by cohort, over published ones if there are; a marked PNG."""
    canvas = Canvas(WIDTH, HEIGHT)
    bottom = HEIGHT - BOTTOM
    bands = {cohort: band for cohort in values if (band := _published(cohort, name))}
    edges = [mean + sign * sd for mean, sd in bands.values() for sign in (-1, 1)]
    axis = Axis.around([*(x for found in values.values() for x in found), *edges], bottom, TOP)
    canvas.text((12, 22), title)
    step = (WIDTH - LEFT - 16) / len(values)
    for number, (cohort, found) in enumerate(values.items()):
        middle = LEFT + step * (number + 0.5)
        if cohort in bands:
            mean, sd = bands[cohort]
            canvas.box((middle - 0.4 * step, axis(mean + sd)), (middle + 0.4 * step, axis(mean - sd)), BAND)
            canvas.line([(middle - 0.4 * step, axis(mean)), (middle + 0.4 * step, axis(mean))], FAINT)
        _dots(canvas, axis, middle, 0.25 * step, np.asarray(found))
        canvas.text((middle, bottom + 18), f"{cohort} ({len(found)})", "mm")
    canvas.line([(LEFT, axis.start), (LEFT, axis.end)])
    for tick in axis.ticks():
        canvas.line([(LEFT - 5, axis(tick)), (LEFT, axis(tick))])
        canvas.text((LEFT - 9, axis(tick)), f"{tick:g}", "rm")
    said = "a dot per frame; line: mean +- sd" + (
        "; green: published mean +- sd, by other tools" if bands else ""
    )
    canvas.text((WIDTH / 2, HEIGHT - 16), f"{said}; synthetic", "mm")
    return _png(canvas)


def _dots(canvas: Canvas, axis: Axis, middle: float, spread: float, found: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    shown = found if len(found) <= MOST_DOTS else rng.choice(found, MOST_DOTS, replace=False)
    for value, aside in zip(shown, rng.uniform(-spread, spread, len(shown)), strict=True):
        canvas.dot((middle + aside, axis(float(value))), BLUE, 2.0)
    mean, sd = float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else 0.0
    canvas.line([(middle, axis(mean - sd)), (middle, axis(mean + sd))], INK, 2.0)
    canvas.line([(middle - 14, axis(mean)), (middle + 14, axis(mean))], INK, 2.0)


def _published(cohort: str, name: str) -> tuple[float, float] | None:
    """Mean and standard deviation of a study, None where there is none or they are assumed."""
    reference = getattr(REFERENCES[parse_cohort(cohort)], name, None)
    return (reference.mean, reference.sd) if reference and reference.source != ASSUMED else None


def _png(canvas: Canvas) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(np.round(canvas.array() * 255).astype(np.uint8)).save(content, "PNG")
    return mark(content.getvalue(), dict(SYNTHETIC))
