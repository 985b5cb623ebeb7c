"""How large a difference may be and still count as none: defaults with their sources, and the user's own.

No equivalence margin for corneal nerve biomarkers has been published. A margin belongs in the protocol, before
the frames are measured.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..cohorts import REFERENCES, Cohort, parse_cohort
from ..errors import DataError
from ..morphometry.report import UNITS
from ..statistics.equivalence import Margin

Margins = Mapping[str, Mapping[Cohort, Margin]]  # by biomarker field, then by cohort

NAMES = {
    "CNFL": "cnfl_mm_per_mm2",
    "CNFD": "cnfd_per_mm2",
    "CNBD": "cnbd_per_mm2",
    "CTBD": "ctbd_per_mm2",
    "CNFA": "cnfa",
    "CNFW": "cnfw_um",
    "CNFrD": "cnfrd",
    "TC": "tortuosity_tc",
}
SHORT = {field: name for name, field in NAMES.items()}

CNFL_MARGIN = Margin(
    1.5,
    "above the 0.9 mm/mm2 between two standard tools on the same frames (CCMetrics 17.4, ACCMetrics 16.5, "
    "Dehghani), at most a third of the gaps between the cohort means in use",
)


def default_margins() -> Margins:
    """CNFL 1.5 mm/mm2; CNFD and CNBD half the standard deviation between patients of the cohort.

    Half a standard deviation is the usual smallest important difference where none is known (Norman 2003).
    Other biomarkers have no reference spread and so no default.
    """
    margins: dict[str, dict[Cohort, Margin]] = {NAMES["CNFL"]: dict.fromkeys(Cohort, CNFL_MARGIN)}
    for name in ("CNFD", "CNBD"):
        margins[NAMES[name]] = {}
        for cohort in Cohort:
            reference = getattr(REFERENCES[cohort], NAMES[name])
            source = f"half the standard deviation {reference.sd:g} between patients ({reference.source})"
            margins[NAMES[name]][cohort] = Margin(reference.sd / 2.0, source)
    return margins


def parse_margins(text: str) -> Margins:
    """Read margins, one a line: `CNFL 1.5`, or for one cohort `CNFD T1DPN 3`; what follows a # is the source.

    An empty text gives the defaults; any line replaces all of them. Raises DataError or CohortError naming the line.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return default_margins()
    margins: dict[str, dict[Cohort, Margin]] = {}
    for line in lines:
        field, cohorts, margin = _parse_line(line)
        margins.setdefault(field, {}).update(dict.fromkeys(cohorts, margin))
    return margins


def _parse_line(line: str) -> tuple[str, tuple[Cohort, ...], Margin]:
    said, _, source = line.partition("#")
    words = said.replace("=", " ").replace(":", " ").split()
    try:
        if len(words) not in (2, 3):
            raise ValueError
        value = float(words[-1])
    except ValueError:
        raise DataError(f"The margin {line!r} cannot be read", fix="write it as: CNFL 1.5") from None
    cohorts = (parse_cohort(words[1]),) if len(words) == 3 else tuple(Cohort)
    return _field(words[0]), cohorts, Margin(value, source.strip() or "chosen by the user")


def _field(name: str) -> str:
    known = {short.lower(): field for short, field in NAMES.items()} | {field: field for field in UNITS}
    if name.lower() not in known:
        raise DataError(f"There is no biomarker {name!r}", fix=f"use one of {', '.join(NAMES)}")
    return known[name.lower()]
