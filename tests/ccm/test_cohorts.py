from __future__ import annotations

from dataclasses import fields

import pytest
from ccm_pack.ccm.cohorts import NEGATIVE_PROMPT, REFERENCES, Cohort, clinical_prompt, parse_cohort
from ccm_pack.ccm.errors import CohortError


def test_the_cohorts_have_the_names_of_the_study() -> None:
    assert [str(cohort) for cohort in Cohort] == ["Control", "T1NoDPN", "T1DPN"]


@pytest.mark.parametrize("name", ["T1NoDPN", "t1nodpn", " T1NODPN "])
def test_a_cohort_is_found_whatever_the_case_of_its_name(name: str) -> None:
    assert parse_cohort(name) is Cohort.T1NODPN


def test_an_unknown_cohort_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(CohortError, match=r"'T2DPN'.*Control, T1NoDPN, T1DPN"):
        parse_cohort("T2DPN")


@pytest.mark.parametrize("cohort", Cohort)
def test_every_reference_value_names_its_source(cohort: Cohort) -> None:
    for field in fields(REFERENCES[cohort]):
        value = getattr(REFERENCES[cohort], field.name)
        assert value.mean > 0 and value.sd > 0 and value.source


def test_nerves_become_fewer_and_more_tortuous_from_cohort_to_cohort() -> None:
    control, without, with_dpn = (REFERENCES[cohort] for cohort in Cohort)
    for name in ("cnfl_mm_per_mm2", "cnfd_per_mm2", "cnbd_per_mm2"):
        assert getattr(control, name).mean > getattr(without, name).mean > getattr(with_dpn, name).mean
    assert control.tortuosity_um.mean < without.tortuosity_um.mean < with_dpn.tortuosity_um.mean


def test_prompts_differ_between_cohorts_and_end_with_the_modifiers() -> None:
    assert len({clinical_prompt(cohort) for cohort in Cohort}) == 3
    assert clinical_prompt(Cohort.CONTROL, " in focus, ") == clinical_prompt(Cohort.CONTROL) + ", in focus"
    assert NEGATIVE_PROMPT
