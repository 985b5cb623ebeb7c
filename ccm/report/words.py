"""What a report says in plain words: one verdict per question, and what cannot be concluded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..equivalence.compare import Comparison, EquivalenceReport
from ..equivalence.summary import name_of, verdict
from ..statistics.equivalence import ALPHA, Design
from .clinical import Biomarkers
from .evaluation import Copies, EvaluationReport, Missing
from .sets import UNKNOWN, SetSummary
from .utility import UtilityDifference
from .visual import Visual

FEW_FRAMES, FEW_PATIENTS = 100, 10
HEAVY_FRAME = 30.0  # times its equal share of KID's kernel, above which one frame decides


class Status(str, Enum):
    """How a question was answered; its value is what a reader sees."""

    SHOWN = "shown"
    NOTHING_FOUND = "nothing found"
    NO_DIFFERENCE = "no difference found"
    NOT_SHOWN = "not shown"
    DIFFERENT = "different"
    SUSPECT = "look closer"
    OPEN = "cannot be concluded"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Verdict:
    """The answer to one question, in a sentence or two."""

    pillar: str
    question: str
    status: Status
    answer: str


def verdicts(report: EvaluationReport) -> list[Verdict]:
    """The answers of the three pillars and on copies, in the order of the report."""
    return [
        Verdict("Visual fidelity", "Do generated frames look like real ones?", *_visual(report)),
        Verdict("Biomarkers", "Do their nerves measure the same?", *_biomarkers(report)),
        Verdict("Copies", "Are generated frames copies of real ones?", *_copies(report)),
        Verdict("Usefulness", "Do generated frames help to train?", *_utility(report)),
    ]


def limits(report: EvaluationReport) -> list[str]:
    """What stands between these numbers and a claim, the gravest first."""
    return [
        *_unknown(report),
        *_small(report),
        *_unlike(report),
        *_remarks(report),
        *_open(report),
    ]


def _visual(report: EvaluationReport) -> tuple[Status, str]:
    if report.exact_copies == report.generated.frames:
        told = "Every generated frame equals a real frame pixel for pixel: this is one set twice, or copies."
        return Status.OPEN, told
    if isinstance(report.visual, Missing):
        return Status.NOT_TESTED, report.visual.reason
    found = report.visual.mmd.statistics
    p = f"p = {found.p_value:.2g}"
    if found.p_value > ALPHA:
        told = f"No difference was found ({p}), which does not show that there is none."
        return Status.NO_DIFFERENCE, told
    if report.real.patients is None:
        told = f"The sets differ if every frame is a patient of its own ({p}); with unknown patients p is too small."
        return Status.OPEN, told
    told = f"No: a test that keeps each patient's frames together tells the two sets apart ({p})."
    return Status.DIFFERENT, told + _covered(report.visual)


def _covered(visual: Visual) -> str:
    if visual.prdc is None:
        return ""
    return f" {visual.prdc.coverage:.0%} of the real frames have a generated frame near them (coverage)."


def _biomarkers(report: EvaluationReport) -> tuple[Status, str]:
    if isinstance(report.biomarkers, Missing):
        return Status.NOT_TESTED, report.biomarkers.reason
    tests = report.biomarkers.equivalence
    if tests.shown:
        return Status.SHOWN, verdict(tests)
    if tests.objections:
        return Status.OPEN, " ".join([_passed(tests), *tests.objections])
    outside = [_place(one) for one in tests.comparisons if _beyond(one)]
    if outside:
        return Status.DIFFERENT, f"{_passed(tests)} Beyond its margin: {', '.join(outside)}."
    return Status.NOT_SHOWN, f'{_passed(tests)}{_needed(tests)} "Not shown" does not mean different.'


def _passed(tests: EquivalenceReport) -> str:
    shown = [_place(one) for one in tests.comparisons if one.test and one.test.shown]
    which = f" ({', '.join(shown)})" if 0 < len(shown) <= 4 else ""
    return (
        f"Equivalence is shown in {len(shown)} of {len(tests.comparisons)} tests{which}; the claim takes all."
    )


def _needed(tests: EquivalenceReport) -> str:
    known = [one.needed for one in tests.comparisons if one.needed and one.test and not one.test.shown]
    return f" With this spread between patients it takes about {max(known)} patients a side." if known else ""


def _place(one: Comparison) -> str:
    return f"{name_of(one)} in {one.cohort}"


def _beyond(one: Comparison) -> bool:
    """Whether the whole interval lies outside the margin."""
    return one.test is not None and (
        one.test.interval[0] > one.margin.value or one.test.interval[1] < -one.margin.value
    )


def _copies(report: EvaluationReport) -> tuple[Status, str]:
    if report.exact_copies:
        counted = f"{report.exact_copies} of {report.generated.frames} generated frames"
        return Status.SUSPECT, f"{counted} equal a real frame pixel for pixel."
    if isinstance(report.copies, Missing):
        return Status.NOT_TESTED, report.copies.reason
    found = report.copies.found
    where = "real frames" if report.copies.among_real else "training frames"
    counted = (
        f"{len(found.copies)} of {len(found.nndr)} generated frames lie suspiciously close to one of the "
        f"{found.n_training} {where}; chance alone would flag about {found.by_chance:.1f}"
    )
    if len(found.copies) and found.p_value <= ALPHA:
        return Status.SUSPECT, f"{counted} (p = {found.p_value:.2g}). Look at the pairs below."
    if not report.copies.patients_known:
        return (
            Status.OPEN,
            f"{counted}. With unknown patients the threshold is too low, so copies may be missed.",
        )
    return Status.NOTHING_FOUND, f"{counted}."


def _utility(report: EvaluationReport) -> tuple[Status, str]:
    if isinstance(report.utility, Missing):
        return Status.NOT_TESTED, report.utility.reason
    differences = report.utility.differences
    gains = [_gain(one) for one in differences if one.low > 0.0]
    losses = [_gain(one) for one in differences if one.high < 0.0]
    told = f"{len(gains)} of {len(differences)} comparisons show a gain, {len(losses)} a loss."
    told += f" Gains: {'; '.join(gains)}." if gains else ""
    if report.utility.is_try:
        return Status.OPEN, f"A try with {report.utility.seeds} seeds, on which no claim can rest. {told}"
    return Status.SHOWN if gains else Status.NOT_SHOWN, told


def _gain(one: UtilityDifference) -> str:
    return f"{one.endpoint}, {one.arm} over {one.against}: {one.difference:+.3f} ({one.low:+.3f} to {one.high:+.3f})"


def _unknown(report: EvaluationReport) -> list[str]:
    found = []
    if report.real.patients is None:
        found.append(
            "The patients of the real frames are unknown, so frames of one patient count as independent: p-values are "
            "too small, intervals too narrow, the floor of the Fréchet distance too low. Nothing can be claimed. Give "
            "a table.csv with the columns frame, cohort, patient."
        )
    for name, one in _sides(report):
        without = sum(count.frames for count in one.cohorts if count.cohort == UNKNOWN)
        if without:
            found.append(
                f"{without} {name} frames have no cohort, so biomarkers cannot be compared. Put the frames into "
                "folders called Control, T1NoDPN and T1DPN, or name the cohort in a table.csv."
            )
    if report.shared_patients and report.settings.design is Design.INDEPENDENT:
        found.append(
            f"{report.shared_patients} patients are named in both sets: if generated frames were made from their "
            "masks, compare the sets as pairs."
        )
    return found


def _small(report: EvaluationReport) -> list[str]:
    found = []
    few = [f"{name} {one.frames}" for name, one in _sides(report) if one.frames < FEW_FRAMES]
    if few:
        found.append(
            f"Few frames ({', '.join(few)}): precision, recall and the Fréchet distance say little below "
            f"{FEW_FRAMES} a side."
        )
    thin = [
        f"{count.cohort} {count.patients}"
        for count in report.real.cohorts
        if count.patients is not None and count.patients < FEW_PATIENTS
    ]
    if thin:
        found.append(f"Few real patients ({', '.join(thin)}): equivalence can hardly be shown with so few.")
    return found


def _unlike(report: EvaluationReport) -> list[str]:
    found = []
    sizes = [f"{one.width_px} x {one.height_px} px" for _, one in _sides(report)]
    if sizes[0] != sizes[1]:
        found.append(
            f"The sets differ in size ({' and '.join(sizes)}); resampling is part of every distance."
        )
    for name, one in _sides(report):
        if one.distinct < one.frames:
            found.append(f"{one.frames - one.distinct} {name} frames repeat another {name} frame.")
    doubtful = [f"{one.doubtful} of {one.frames} {name}" for name, one in _sides(report) if one.doubtful]
    if doubtful:
        found.append(
            f"{' and '.join(doubtful)} frames have a quality problem, which the tables of measurements name. They are "
            "kept, since leaving them out would flatter the worse set."
        )
    missing = {count.cohort for count in report.real.cohorts} ^ {
        count.cohort for count in report.generated.cohorts
    }
    if missing - {UNKNOWN}:
        found.append(
            f"Only one of the sets has frames of {', '.join(sorted(missing - {UNKNOWN}))}: the distances mix that in."
        )
    return found


def _remarks(report: EvaluationReport) -> list[str]:
    found = list(report.biomarkers.equivalence.remarks) if isinstance(report.biomarkers, Biomarkers) else []
    if isinstance(report.visual, Visual):
        kid = report.visual.kid
        if kid.largest_share * (kid.n_a + kid.n_b) > HEAVY_FRAME:
            found.append(
                f"One single frame carries {kid.largest_share:.0%} of KID's kernel: with these features KID is noise."
            )
    if isinstance(report.copies, Copies):
        if report.copies.among_real:
            found.append(
                "Copies were searched among the real frames of this comparison. If the generator was trained on "
                "others, nothing is known of copies of those: give them with --training."
            )
        if report.copies.found.n_heldout < FEW_FRAMES:
            found.append(
                f"The threshold for copies rests on {report.copies.found.n_heldout} frames: a rough one below "
                f"{FEW_FRAMES}."
            )
    return found


def _open(report: EvaluationReport) -> list[str]:
    found = [
        f"All distances are those of one network, {report.extractor.name}: what it does not see does not count. They "
        "cannot be set beside the numbers of another network, another N or another paper."
    ]
    if isinstance(report.utility, Missing):
        found.append("Whether generated frames help to train or to test a method is not tested here.")
    return found


def _sides(report: EvaluationReport) -> list[tuple[str, SetSummary]]:
    return [("real", report.real), ("generated", report.generated)]
