"""A report as one HTML page: the answers first, then what they rest on."""

from __future__ import annotations

from collections.abc import Sequence

from ..cohorts import Cohort
from ..equivalence.compare import Comparison
from ..equivalence.margins import SHORT
from ..equivalence.summary import name_of
from ..fidelity.two_sample import INTERVAL_SUBJECTS, TwoSampleResult
from ..statistics.equivalence import Design
from ..statistics.means import MeanInterval
from . import html
from .clinical import Biomarkers
from .evaluation import Copies, EvaluationReport
from .figures import Figure
from .methods import BIOMARKERS, REFERENCES, TERMS, methods
from .sets import SetSummary
from .utility import Utility
from .visual import Visual
from .words import Status, limits, verdicts

TITLE = "Real and generated CCM frames compared"
NOTE = "Generated frames are synthetic. Not for clinical use."
ABOUT = (
    "Corneal confocal microscopy (CCM) shows the fine nerves of the cornea, which thin out in diabetic neuropathy. "
    "This report compares real frames with frames made by a generator, and says what may be claimed of them."
)
MARGINS = "To be chosen before measuring; no margin for these biomarkers has been published."
KINDS = {
    Status.SHOWN: "good",
    Status.NOTHING_FOUND: "good",
    Status.DIFFERENT: "bad",
    Status.SUSPECT: "bad",
    Status.NO_DIFFERENCE: "open",
    Status.NOT_SHOWN: "open",
    Status.OPEN: "open",
    Status.NOT_TESTED: "",
}
UNITS = {name: unit for name, unit, _ in BIOMARKERS}


def to_html(report: EvaluationReport, figures: Sequence[Figure]) -> str:
    """The whole report as one file that needs nothing else."""
    said = verdicts(report)
    answers = [html.verdict(v.question, v.status.value, v.answer, KINDS[v.status]) for v in said]
    body = [
        html.paragraph(NOTE, "banner"),
        html.heading(1, TITLE),
        html.paragraph(ABOUT, "lead"),
        *([html.paragraph(report.provenance.remark, "banner")] if report.provenance.remark else []),
        '<div class="verdicts">',
        *answers,
        "</div>",
        html.heading(3, "What cannot be concluded"),
        html.items(limits(report)),
        *_compared(report, figures),
        *_visual(report, figures),
        *_biomarkers(report, figures),
        *_copies(report, figures),
        *_utility(report),
        *_methods(report),
    ]
    return html.page(TITLE, body)


def _compared(report: EvaluationReport, figures: Sequence[Figure]) -> list[str]:
    real, generated = report.real, report.generated
    rows: list[tuple[str, ...]] = [(name, cell(real), cell(generated)) for name, cell in _SET_ROWS]
    for cohort in [*(c.value for c in Cohort), "unknown"]:
        cells = [_cohort_cell(one, cohort) for one in (real, generated)]
        if any(cell != "-" for cell in cells):
            rows.append((f"cohort {cohort}", *cells))
    relation = "paired: they share masks" if report.settings.design is Design.PAIRED else "independent"
    rows.append(("relation of the sets", relation, relation))
    return [
        html.heading(2, "What was compared"),
        html.table(["", "real", "generated"], rows),
        html.paragraph(f"Features for all distances: {report.extractor}."),
        *_figures(figures, "compared"),
    ]


_SET_ROWS = (
    ("from", lambda one: one.source),
    ("frames", lambda one: str(one.frames)),
    ("patients", lambda one: "unknown" if one.patients is None else str(one.patients)),
    ("size", lambda one: f"{one.width_px} x {one.height_px} px"),
    ("with a quality problem", lambda one: "not looked at" if one.doubtful is None else str(one.doubtful)),
)


def _cohort_cell(one: SetSummary, cohort: str) -> str:
    for count in one.cohorts:
        if count.cohort == cohort:
            return f"{count.frames} frames" + (f" of {count.patients} patients" if count.patients else "")
    return "-"


def _visual(report: EvaluationReport, figures: Sequence[Figure]) -> list[str]:
    title = html.heading(2, "1  Visual fidelity")
    if not isinstance(report.visual, Visual):
        return [title, html.paragraph(report.visual.reason)]
    about = (
        "A network turns every frame into numbers; the measures below say how far apart the two clouds of numbers "
        "lie. Go by MMD and its p: it is the one that is right at any number of frames."
    )
    head = ["measure", "value", "95 % interval or range", "note", "N real / generated"]
    rows = [*_distance_rows(report.visual), *_frechet_rows(report.visual)]
    without = "No Fréchet distance is given: too few real frames for a floor beside it."
    return [
        title,
        html.paragraph(about),
        html.table(head, rows, f"{report.extractor}", numbers=(1, 2)),
        *([] if report.visual.floor else [html.paragraph(without)]),
        *_figures(figures, "visual"),
        *_pairs(report.visual),
    ]


def _distance_rows(visual: Visual) -> list[tuple[str, ...]]:
    n = f"{visual.mmd.n_a} / {visual.mmd.n_b}"
    rows = [
        (f"{name} x 1000", f"{1e3 * one.value:.2f}", _scaled(one.interval), _p_text(one), n)
        for name, one in (("MMD²", visual.mmd.statistics), ("KID", visual.kid.statistics))
    ]
    if visual.prdc:
        for name in ("precision", "recall", "density", "coverage"):
            rows.append((name, f"{getattr(visual.prdc, name):.2f}", "-", "fifth neighbour", n))
    return rows


def _frechet_rows(visual: Visual) -> list[tuple[str, ...]]:
    """The Fréchet distance and its floor, or neither."""
    if not (visual.frechet and visual.floor):
        return []
    whole, floor = visual.frechet, visual.floor
    n = f"{floor.n} / {floor.n}"
    halves = "halves of different patients" if floor.subject_disjoint else "patients unknown"
    made = _number(floor.real_generated), _range(floor.real_generated_range)
    real = _number(floor.real_real), _range(floor.real_real_range)
    first = "Fréchet distance, all frames", _number(whole.distance), "-", "read it beside its floor"
    return [
        (*first, f"{whole.n_a} / {whole.n_b}"),
        ("same, at the floor's N", *made, "mean and range of random halves", n),
        ("floor: real against real", *real, halves, n),
    ]


def _pairs(visual: Visual) -> list[str]:
    if visual.pairs is None:
        return [
            html.paragraph(
                "SSIM, MS-SSIM and PSNR compare pairs that share a mask; these sets are not paired.", "soft"
            )
        ]
    rows = [
        (one.name, _mean(one.pairs), "-" if one.mismatched is None else _number(one.mismatched))
        for one in visual.pairs.measures
    ]
    identical = (
        f" {visual.pairs.identical} pairs are identical and have no PSNR." if visual.pairs.identical else ""
    )
    return [
        html.heading(3, "Similarity of the pairs"),
        html.table(
            ["measure", "pairs, mean (95 % interval)", "same frames, wrongly paired"],
            rows,
            f"{visual.pairs.n} pairs that share a mask. {visual.pairs.convention}.{identical}",
            numbers=(1, 2),
        ),
        html.paragraph("This measures how a mask is followed, not how real a frame looks.", "soft"),
    ]


def _biomarkers(report: EvaluationReport, figures: Sequence[Figure]) -> list[str]:
    title = html.heading(2, "2  Biomarkers")
    if not isinstance(report.biomarkers, Biomarkers):
        return [title, html.paragraph(report.biomarkers.reason)]
    tests = report.biomarkers.equivalence
    unit = "patients" if report.real.patients is not None else "frames, patients unknown"
    blocks = [
        title,
        html.paragraph(
            "The nerves of every frame were traced and measured. Each row below asks whether the means of real and "
            "generated frames differ by less than a margin chosen beforehand; a wide interval cannot show that."
        ),
        html.table(
            ["", "cohort", "n", "difference", "90 % interval", "margin", "p", "equivalence", "would take"],
            [_test_row(one) for one in tests.comparisons],
            "Equivalence tests (TOST). n: real / generated. Would take: patients a side for 80 % power.",
            numbers=(3, 4, 5, 6),
        ),
        *_figures(figures, "biomarkers"),
        html.heading(3, "All biomarkers"),
    ]
    for cohort in dict.fromkeys(row.cohort for row in report.biomarkers.rows):
        rows = [
            (SHORT[row.biomarker], UNITS[SHORT[row.biomarker]], _mean(row.real), _mean(row.generated))
            for row in report.biomarkers.rows
            if row.cohort is cohort
        ]
        head = ["", "unit", "real", "generated"]
        caption = f"{cohort.value}: mean (95 % interval) over {unit}; generated frames without a patient count singly"
        blocks.append(html.table(head, rows, caption, numbers=(2, 3)))
    return blocks


def _test_row(one: Comparison) -> tuple[str, ...]:
    name, n = name_of(one), f"{len(one.real)} / {len(one.generated)}"
    margin = f"{one.margin.value:g}"
    if one.test is None:
        return name, one.cohort.value, n, "-", "-", margin, "-", f"not tested: {one.reason}", "-"
    low, high = one.test.interval
    shown = "shown" if one.test.shown else "not shown"
    needs = "-" if one.test.shown or one.needed is None else str(one.needed)
    interval = f"{low:+.2f} to {high:+.2f}"
    p = f"{one.test.p_value:.2g}"
    return name, one.cohort.value, n, f"{one.test.difference:+.2f}", interval, margin, p, shown, needs


def _copies(report: EvaluationReport, figures: Sequence[Figure]) -> list[str]:
    title = html.heading(2, "Copies")
    about = html.paragraph(
        "A generator that repeats the frames it was trained on scores well everywhere above and leaks patients. Look "
        "at the pairs: does any generated frame show the nerves of its neighbour?"
    )
    if not isinstance(report.copies, Copies):
        return [title, about, html.paragraph(report.copies.reason)]
    found = report.copies.found
    rows = [
        ("equal to a real frame, pixel for pixel", str(report.exact_copies)),
        ("flagged as suspiciously close", f"{len(found.copies)} of {len(found.nndr)}"),
        ("flagged by chance alone, expected", f"{found.by_chance:.1f}"),
        ("p that chance flags as many", f"{found.p_value:.2g}"),
        (
            "NNDR threshold",
            f"{found.nndr_threshold:.3f}, number {found.rank} of {found.n_heldout} real frames",
        ),
        ("closer to the nearest frame (DCR) than the threshold", f"{found.dcr_share:.1%}"),
    ]
    return [title, about, html.table(["", ""], rows), *_figures(figures, "copies")]


def _utility(report: EvaluationReport) -> list[str]:
    title = html.heading(2, "3  Usefulness")
    if not isinstance(report.utility, Utility):
        return [title, html.paragraph(report.utility.reason)]
    rows = [
        (d.endpoint, d.arm, d.against, f"{d.difference:+.3f}", f"{d.low:+.3f} to {d.high:+.3f}", d.verdict)
        for d in report.utility.differences
    ]
    counts = f"{report.utility.seeds} seeds, {report.utility.patients} test patients"
    caption = f"Arms: {', '.join(report.utility.arms)}; {counts}."
    head = ["endpoint", "arm", "against", "difference", "95 % interval", "gain"]
    about = (
        "Small networks that trace nerves and name the cohort were trained on real frames, with and without generated "
        "ones, and tested on real patients that none of them had seen."
    )
    table = html.table(head, rows, caption, numbers=(3, 4))
    return [title, html.paragraph(about), table, html.items(report.utility.notes)]


def _methods(report: EvaluationReport) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in report.provenance.versions.items())
    return [
        html.heading(2, "Methods"),
        *map(html.paragraph, methods(report)),
        *_margins(report),
        html.heading(3, "Biomarkers"),
        html.table(["", "unit", "definition"], BIOMARKERS),
        html.heading(3, "Terms"),
        html.definitions(TERMS),
        html.heading(3, "References"),
        html.items(REFERENCES),
        html.heading(3, "Made by"),
        html.block(report.provenance.command),
        html.paragraph(f"{versions}. All numbers are in the JSON file beside this page. {NOTE}", "soft"),
    ]


def _margins(report: EvaluationReport) -> list[str]:
    if not isinstance(report.biomarkers, Biomarkers):
        return []
    rows = [
        (
            name_of(one),
            one.cohort.value,
            f"{one.margin.value:g}",
            UNITS.get(name_of(one), ""),
            one.margin.source,
        )
        for one in report.biomarkers.equivalence.comparisons
    ]
    return [
        html.heading(3, "Margins"),
        html.table(["", "cohort", "margin", "unit", "source"], rows, MARGINS, numbers=(2,)),
    ]


def _figures(figures: Sequence[Figure], section: str) -> list[str]:
    return [html.figure(one.picture, one.caption) for one in figures if one.section == section]


def _mean(one: MeanInterval | None) -> str:
    if one is None:
        return "-"
    if one.interval is None:
        return f"{_number(one.mean)} (n = 1)"
    return f"{_number(one.mean)} ({_range(one.interval)})"


def _p_text(found: TwoSampleResult) -> str:
    """The p, and why no interval stands beside it."""
    p = f"p = {found.p_value:.2g}"
    if found.interval is not None:
        return p
    few = min(found.subjects_a, found.subjects_b) < INTERVAL_SUBJECTS
    return f"{p}; no interval {f'below {INTERVAL_SUBJECTS} patients a side' if few else 'so close to zero'}"


def _scaled(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{1e3 * interval[0]:.2f} to {1e3 * interval[1]:.2f}"


def _range(limits: tuple[float, float]) -> str:
    return f"{_number(limits[0])} to {_number(limits[1])}"


def _number(value: float) -> str:
    """Three digits, zeros at the end included."""
    return f"{value:#.3g}".rstrip(".")
