"""Free wording: many texts, none of them one that the reader is judged by."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.benchmarks.nano.paraphrases import PARAPHRASES
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.training.nano.wording import free_wording


@pytest.mark.parametrize("cohort", Cohort)
def test_free_wording_never_is_a_judging_paraphrase(cohort: Cohort) -> None:
    rng = np.random.default_rng(0)
    drawn = {free_wording(cohort, rng).lower() for _ in range(5000)}
    assert not drawn & {text.lower() for text in PARAPHRASES[cohort]} and len(drawn) > 4000


def test_there_are_twenty_judging_paraphrases_a_cohort() -> None:
    texts = [text for cohort in Cohort for text in PARAPHRASES[cohort]]
    assert [len(PARAPHRASES[cohort]) for cohort in Cohort] == [20, 20, 20] and len(set(texts)) == 60
