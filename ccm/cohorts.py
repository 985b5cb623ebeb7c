"""The three cohorts of type 1 diabetic peripheral neuropathy (DPN): reference values and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .errors import CohortError


class Cohort(str, Enum):
    """A study group: healthy, type 1 diabetes without DPN, type 1 diabetes with DPN."""

    CONTROL = "Control"
    T1NODPN = "T1NoDPN"
    T1DPN = "T1DPN"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Reference:
    """Mean and standard deviation of a biomarker in a cohort, and where they come from."""

    mean: float
    sd: float
    source: str


@dataclass(frozen=True)
class CohortReference:
    """What is known of a cohort's biomarkers; tortuosity is a sideways undulation in um RMS."""

    cnfl_mm_per_mm2: Reference
    cnfd_per_mm2: Reference
    cnbd_per_mm2: Reference
    tortuosity_um: Reference


ASSUMED = "assumed"
LSMU = "LSMU 2016 (10 controls, 30 patients with type 1 diabetes; neuropathy status not given)"
STATUS = "PMC5316911 (type 1 diabetes by neuropathy status)"

REFERENCES: dict[Cohort, CohortReference] = {
    Cohort.CONTROL: CohortReference(
        cnfl_mm_per_mm2=Reference(19.7, 5.6, LSMU),
        cnfd_per_mm2=Reference(30.0, 6.0, ASSUMED),
        cnbd_per_mm2=Reference(61.9, 36.3, f"{LSMU}: 9.90 +- 5.8 branches per 0.16 mm2 frame"),
        tortuosity_um=Reference(4.5, 1.5, ASSUMED),
    ),
    Cohort.T1NODPN: CohortReference(
        cnfl_mm_per_mm2=Reference(15.0, 5.4, f"{STATUS}: low risk 19.0, at risk 11.0, equal shares assumed"),
        cnfd_per_mm2=Reference(24.0, 6.0, ASSUMED),
        cnbd_per_mm2=Reference(28.6, 24.4, f"{LSMU}: 4.57 +- 3.91 branches per 0.16 mm2 frame"),
        tortuosity_um=Reference(6.0, 1.8, ASSUMED),
    ),
    Cohort.T1DPN: CohortReference(
        cnfl_mm_per_mm2=Reference(10.5, 4.5, STATUS),
        cnfd_per_mm2=Reference(16.0, 6.0, ASSUMED),
        cnbd_per_mm2=Reference(15.0, 10.0, ASSUMED),
        tortuosity_um=Reference(8.5, 2.5, ASSUMED),
    ),
}

_PHRASES = {
    Cohort.CONTROL: "healthy control without diabetes, dense long parallel nerve fibres with many branches",
    Cohort.T1NODPN: "type 1 diabetes without peripheral neuropathy, slightly reduced nerve fibre density",
    Cohort.T1DPN: (
        "type 1 diabetes with diabetic peripheral neuropathy, "
        "sparse thin tortuous nerve fibres with few branches"
    ),
}

NEUTRAL_PROMPT = "corneal confocal microscopy frame of the sub-basal nerve plexus"
NEGATIVE_PROMPT = "colour, text, watermark, drawing, blur, checkerboard pattern, motion artefact, no nerves"


def parse_cohort(name: str) -> Cohort:
    """Return the cohort of that name, whatever its case; raises CohortError naming the valid ones."""
    for cohort in Cohort:
        if cohort.value.lower() == str(name).strip().lower():
            return cohort
    raise CohortError(f"Unknown cohort {name!r}", fix=f"use one of {', '.join(c.value for c in Cohort)}")


def clinical_prompt(cohort: Cohort, modifiers: str = "") -> str:
    """Describe a frame of the cohort in one clinical sentence; modifiers are appended."""
    parts = [
        NEUTRAL_PROMPT,
        cohort.value,
        _PHRASES[cohort],
    ]
    extra = modifiers.strip().strip(",.")
    return ", ".join([*parts, extra] if extra else parts)
