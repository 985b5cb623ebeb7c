"""The check of a cohort's name that several nodes take as an input."""

from __future__ import annotations

from ..ccm.cohorts import parse_cohort
from ..ccm.errors import CohortError


def validate(cohort: str | None) -> bool | str:
    """Return True for a cohort's name and for None, a name that a linked node gives later; else what is wrong."""
    try:
        return cohort is None or bool(parse_cohort(cohort))
    except CohortError as error:
        return str(error)
