"""The figures of a report, each with what it shows."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..cohorts import Cohort
from ..equivalence.figures import agreement_figures, forest_figure, violin_figures
from ..equivalence.summary import name_of
from ..fidelity.features import Frames
from ..plots.canvas import PAPER
from ..plots.figures import Range, frame_rows, neighbour_sheet, ranges
from ..statistics.equivalence import Design
from .clinical import Biomarkers
from .evaluation import Copies, EvaluationReport
from .sets import EvaluationSet
from .visual import Visual

IN_A_ROW = 6
PAIRS_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Figure:
    """A picture [H,W,3] in 0..1, the name of its file, and the section it belongs to."""

    name: str
    section: str
    caption: str
    picture: np.ndarray


def draw_figures(
    report: EvaluationReport,
    real: EvaluationSet,
    generated: EvaluationSet,
    training: EvaluationSet | None = None,
) -> list[Figure]:
    """Every figure that the report has something to show in."""
    return [
        _samples(real, generated),
        *_visual(report),
        *_biomarkers(report),
        *_copies(report, generated, training or real),
    ]


def as_batch(figures: list[Figure]) -> np.ndarray:
    """The figures as one batch [N,H,W,3], each on white paper of the size of the largest."""
    height = max(figure.picture.shape[0] for figure in figures)
    width = max(figure.picture.shape[1] for figure in figures)
    batch = np.full((len(figures), height, width, 3), PAPER[0] / 255.0, dtype=np.float32)
    for sheet, figure in zip(batch, figures, strict=True):
        sheet[: figure.picture.shape[0], : figure.picture.shape[1]] = figure.picture
    return batch


def _samples(real: EvaluationSet, generated: EvaluationSet) -> Figure:
    rows = []
    for cohort in (*Cohort, None):
        for one in (real, generated):
            members = [n for n, label in enumerate(one.labels) if label.cohort is cohort]
            chosen = np.unique(np.linspace(0, len(members) - 1, IN_A_ROW).round().astype(int))
            if members:
                frames = [_frame(one.frames, members[n]) for n in chosen]
                rows.append((f"{cohort.value}, {one.name}" if cohort else one.name, frames))
    caption = "Frames of both sets, evenly spaced over each set and not chosen for their looks."
    return Figure("frames", "compared", caption, frame_rows(rows, "Real and generated frames"))


def _visual(report: EvaluationReport) -> list[Figure]:
    if not isinstance(report.visual, Visual) or report.visual.floor is None:
        return []
    floor = report.visual.floor
    rows = [
        Range("real against real (floor)", floor.real_real, *floor.real_real_range),
        Range("generated against real", floor.real_generated, *floor.real_generated_range),
    ]
    # The font of the figures has no accents.
    said = f"Frechet distance at {floor.n} frames a side: mean and range over {floor.splits} random halvings"
    caption = (
        "The Fréchet distance of generated frames beside its floor: what two halves of the real set, of different "
        "patients, score against each other. Only the gap between the two rows says something about the generator."
        if floor.subject_disjoint
        else "The Fréchet distance beside what two halves of the real set score. Patients are unknown, so both "
        "halves may hold the same patients, and the floor is too low."
    )
    return [Figure("frechet", "visual", caption, ranges(rows, "Frechet distance and its floor", said))]


def _biomarkers(report: EvaluationReport) -> list[Figure]:
    if not isinstance(report.biomarkers, Biomarkers):
        return []
    tests = report.biomarkers.equivalence
    forest = (
        "Difference of the means, generated minus real, with its 90 % interval, in multiples of the margin. "
        "Equivalence is shown where the whole interval lies in the green band."
    )
    figures = [Figure("forest", "biomarkers", forest, forest_figure(tests)[0])]
    members = {name_of(one): one for one in tests.comparisons}
    for name, picture in zip(members, violin_figures(tests), strict=True):
        caption = (
            f"{name}: one dot per patient, in brackets how many. The green band is the real mean +- margin."
        )
        figures.append(Figure(f"violin_{_slug(name)}", "biomarkers", caption, picture))
    if tests.design is Design.PAIRED:
        agreed = [one for one in tests.comparisons if one.agreement]
        for one, picture in zip(agreed, agreement_figures(tests), strict=False):
            name = f"{name_of(one)} in {one.cohort}"
            caption = f"Bland-Altman: {name}, generated minus real over their mean, one dot per patient."
            figures.append(Figure(f"agreement_{_slug(name)}", "biomarkers", caption, picture))
    return figures


def _copies(report: EvaluationReport, generated: EvaluationSet, searched: EvaluationSet) -> list[Figure]:
    if not isinstance(report.copies, Copies):
        return []
    found = report.copies.found
    worst = np.argsort(found.nndr, kind="stable")[:PAIRS_SHOWN]
    captions = [
        f"NNDR {found.nndr[n]:.3f}, {'flagged' if n in found.copies else 'not flagged'}" for n in worst
    ]
    left = [_frame(generated.frames, int(n)) for n in worst]
    right = [_frame(searched.frames, int(found.nearest[n])) for n in worst]
    title = "Generated frames (left) and the real frames nearest to them (right), most alike first"
    caption = (
        "The generated frames that come closest to copying a real one. A copy shows the same nerves at the same "
        "place, perhaps turned or mirrored."
    )
    return [Figure("neighbours", "copies", caption, neighbour_sheet(left, right, captions, title))]


def _frame(frames: Frames, index: int) -> np.ndarray:
    return frames[index : index + 1][0]


def _slug(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").lower()
