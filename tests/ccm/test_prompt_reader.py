"""The reader knows a cohort in many wordings, and leaves everything else alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ccm_pack.benchmarks.nano.paraphrases import PARAPHRASES
from ccm_pack.ccm.cohorts import NEGATIVE_PROMPT, NEUTRAL_PROMPT, Cohort, clinical_prompt
from ccm_pack.ccm.errors import WeightsError
from ccm_pack.ccm.prompt_reader import CLASSES, PromptReader, load_prompt_reader, phrases_of


def test_phrases_are_words_and_pairs_near_each_other() -> None:
    assert phrases_of("No DPN, yet!") == {"no", "dpn", "yet", "no dpn", "dpn yet", "no _ yet"}


def test_the_phrases_of_a_text_decide_and_doubt_is_no_cohort() -> None:
    weight = torch.zeros(2, len(CLASSES))
    weight[0, CLASSES.index(Cohort.T1DPN)] = 4.0
    weight[1, CLASSES.index(Cohort.CONTROL)] = 4.0
    reader = PromptReader(["dpn", "no dpn"], weight, torch.zeros(len(CLASSES)))
    assert reader.cohort("severe DPN") is Cohort.T1DPN
    assert reader.cohort("no DPN") is None and reader.cohort("unheard-of words") is None


@pytest.mark.parametrize("cohort", Cohort)
def test_the_embedded_reader_knows_most_wordings_that_it_was_not_fitted_to(cohort: Cohort) -> None:
    reader = load_prompt_reader()
    assert sum(reader.cohort(text) is cohort for text in PARAPHRASES[cohort]) >= 17


@pytest.mark.parametrize(
    "text",
    [
        "",
        NEGATIVE_PROMPT,
        NEUTRAL_PROMPT,
        "microscopy frame, sparse, thin fibres, cloudy background",
        "a dog on a bicycle",
        clinical_prompt(Cohort.T1DPN, "many dendritic cells"),
    ],
)
def test_what_names_no_cohort_or_is_clinical_already_stays_as_it_is(text: str) -> None:
    assert load_prompt_reader().clinical(text) == text


def test_a_missing_reader_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="reader.safetensors"):
        load_prompt_reader(tmp_path / "reader.safetensors")
