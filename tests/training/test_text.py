"""The prompt encoder taught free wording: what it knew stays, what it learns is not the bench's list."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ccm_pack.benchmarks.nano.paraphrases import PARAPHRASES
from ccm_pack.ccm.cohorts import Cohort, clinical_prompt
from ccm_pack.ccm.prompt_encoder import PromptEncoder, WordTokenizer, encode_prompts
from ccm_pack.training.nano.text import FIXED, TextSchedule, train_text, widened
from ccm_pack.training.nano.wording import free_wording, vocabulary

KNOWN = ["control", "diabetes", "nerves"]


def test_the_judging_paraphrases_are_twenty_a_cohort_and_none_is_a_fixed_prompt() -> None:
    texts = [text for cohort in Cohort for text in PARAPHRASES[cohort]]
    assert [len(PARAPHRASES[cohort]) for cohort in Cohort] == [20, 20, 20] and len(set(texts)) == 60
    assert not {text.lower() for text in texts} & {text.lower() for text in FIXED}


@pytest.mark.parametrize("cohort", Cohort)
def test_free_wording_never_is_a_judging_paraphrase(cohort: Cohort) -> None:
    rng = np.random.default_rng(0)
    drawn = {free_wording(cohort, rng).lower() for _ in range(5000)}
    assert not drawn & {text.lower() for text in PARAPHRASES[cohort]} and len(drawn) > 4000


def test_every_word_of_free_wording_is_in_the_vocabulary() -> None:
    words, rng = set(vocabulary()), np.random.default_rng(1)
    tokenizer = WordTokenizer(sorted(words))
    texts = [free_wording(cohort, rng) for cohort in Cohort for _ in range(200)]
    assert all(tokenizer(text) for text in texts)


def test_a_widened_encoder_reads_known_words_as_before() -> None:
    torch.manual_seed(0)
    encoder = PromptEncoder(len(KNOWN)).eval()
    wide = widened(encoder, 10).eval()
    tokenizer = WordTokenizer(KNOWN)
    before, after = (encode_prompts(e, tokenizer, ["control nerves", ""]) for e in (encoder, wide))
    assert torch.equal(before.context, after.context) and torch.equal(before.pooled, after.pooled)


def test_training_keeps_the_numbers_of_known_words_and_brings_paraphrases_nearer() -> None:
    torch.manual_seed(0)
    teacher = PromptEncoder(len(KNOWN)).eval()
    student, words = train_text(teacher, KNOWN, ["sparse", "dense"], ["nerves"], TextSchedule(12, batch=6))
    assert words == [*KNOWN, "sparse", "dense"]
    asked = encode_prompts(teacher, WordTokenizer(KNOWN), [clinical_prompt(Cohort.CONTROL)]).context

    def distance(encoder: PromptEncoder) -> float:
        return float(
            (encode_prompts(encoder, WordTokenizer(words), ["dense"]).context - asked).square().mean()
        )

    assert distance(student) < distance(widened(teacher, len(words)).eval())
