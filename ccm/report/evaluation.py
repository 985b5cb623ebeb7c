"""Two sets of frames -> one EvaluationReport: all numbers of a report, and none of its words."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TypeVar

import numpy as np

from ..equivalence.margins import Margins, default_margins
from ..errors import CCMError, DataError
from ..fidelity.features import ExtractorId, FeatureExtractor, FeatureSet, extract
from ..fidelity.memorisation import (
    MemorisationResult,
    extract_turned,
    memorisation,
    memorisation_among,
    orientations,
)
from ..statistics.equivalence import Design
from .clinical import Biomarkers, measure_biomarkers
from .sets import EvaluationSet, SetSummary, check_cohorts, fingerprints, summarise
from .utility import Utility
from .visual import Visual, measure_visual

Pillar = TypeVar("Pillar")
NO_UTILITY = (
    "Not tested here. The command python . utility trains small networks with and without generated frames and tests "
    "them on patients that no generator has seen; python . evaluate takes its result with --utility utility.json."
)


@dataclass(frozen=True)
class Missing:
    """A pillar that could not be measured, and why."""

    reason: str


@dataclass(frozen=True)
class Settings:
    """Everything that a user chooses; `seed` is that of permutations and random halves."""

    design: Design = Design.INDEPENDENT
    margins: Margins = field(default_factory=default_margins)
    seed: int = 0


@dataclass(frozen=True)
class Provenance:
    """What made the report: the command that makes it again, the versions of the programs, what to know of the sets."""

    command: str
    versions: dict[str, str]
    remark: str = ""


def program_versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {name: version(name) for name in ("numpy", "scipy", "torch")}
    return {"python": platform.python_version(), **found}


@dataclass(frozen=True)
class Copies:
    """Which generated frames look like copies, and where they were searched for.

    `among_real` says that they were searched among the real frames of the comparison, for want of training frames.
    """

    found: MemorisationResult
    among_real: bool
    patients_known: bool


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """The three pillars and memorisation; a pillar that could not be measured says why."""

    real: SetSummary
    generated: SetSummary
    settings: Settings
    extractor: ExtractorId
    visual: Visual | Missing
    biomarkers: Biomarkers | Missing
    copies: Copies | Missing
    exact_copies: int
    shared_patients: int
    utility: Utility | Missing
    provenance: Provenance


def evaluate(
    real: EvaluationSet,
    generated: EvaluationSet,
    extractor: FeatureExtractor,
    settings: Settings,
    provenance: Provenance,
    training: EvaluationSet | None = None,
    utility: Utility | None = None,
    on_frame: Callable[[int], None] = lambda frames: None,
) -> EvaluationReport:
    """Compare generated frames with real ones; with Design.PAIRED frame i of both sets shares a mask.

    `training` are the frames that the generator learnt from, if they are not the real ones of the comparison:
    those then serve as held-out frames. `on_frame` hears of `frames_seen` frames. Raises ImageError and DataError
    for sets that cannot be compared at all; what only one pillar needs is that pillar's Missing.
    """
    check_cohorts(*([label.cohort for label in one.labels] for one in (real, generated)))
    if settings.design is Design.PAIRED:
        _check_pairs(real, generated)
    originals, made = set(fingerprints(real, on_frame)), fingerprints(generated, on_frame)
    features = (
        extract(extractor, real.frames, real.subjects, on_frame),
        extract(extractor, generated.frames, generated.subjects, on_frame),
    )
    rng = np.random.default_rng(settings.seed)
    return EvaluationReport(
        real=summarise(real, len(originals)),
        generated=summarise(generated, len(set(made))),
        settings=settings,
        extractor=features[0].extractor,
        visual=_or_missing(lambda: measure_visual(real, generated, features, settings.design, rng)),
        biomarkers=_or_missing(
            lambda: measure_biomarkers(real, generated, settings.margins, settings.design)
        ),
        copies=_or_missing(lambda: _copies(real, training, features, extractor, on_frame)),
        exact_copies=sum(one in originals for one in made),
        shared_patients=len(set(real.subjects or ()) & set(generated.subjects or ())),
        utility=utility or Missing(NO_UTILITY),
        provenance=provenance,
    )


def frames_seen(
    extractor: FeatureExtractor, real: EvaluationSet, generated: EvaluationSet, training: EvaluationSet | None
) -> int:
    """How many frames `evaluate` reports to `on_frame`."""
    searched = len((training or real).frames)
    return 2 * (len(real.frames) + len(generated.frames)) + orientations(extractor) * searched


def _check_pairs(real: EvaluationSet, generated: EvaluationSet) -> None:
    sizes = [one.frames[:1].shape[1:] for one in (real, generated)]
    if len(real.frames) != len(generated.frames) or sizes[0] != sizes[1]:
        raise DataError(
            f"{len(real.frames)} real frames of {sizes[0][1]} x {sizes[0][0]} px and {len(generated.frames)} "
            f"generated ones of {sizes[1][1]} x {sizes[1][0]} px are no pairs",
            fix="generate one frame of the same size from the mask of each real frame, or compare them unpaired",
        )


def _copies(
    real: EvaluationSet,
    training: EvaluationSet | None,
    features: tuple[FeatureSet, FeatureSet],
    extractor: FeatureExtractor,
    on_frame: Callable[[int], None],
) -> Copies:
    searched = training or real
    turned = extract_turned(extractor, searched.frames, searched.subjects, on_frame)
    if training is None:
        found = memorisation_among(features[1], turned)
    else:
        found = memorisation(features[1], turned, features[0])
    return Copies(found, training is None, searched.patients_known and real.patients_known)


def _or_missing(measure: Callable[[], Pillar]) -> Pillar | Missing:
    try:
        return measure()
    except CCMError as error:
        return Missing(str(error))
