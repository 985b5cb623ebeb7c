from __future__ import annotations

import torch
from ccm_pack.ccm.prompt_encoder import MAX_WORDS, WIDTH, PromptEncoder, WordTokenizer


def test_unknown_words_are_skipped_and_case_and_punctuation_do_not_matter():
    tokenizer = WordTokenizer(["dense", "nerves"])
    assert tokenizer("Dense, (unheard-of) NERVES!") == [1, 2]


def test_a_batch_is_padded_with_zeros_and_cut_at_the_longest_prompt():
    rows = WordTokenizer(["a"]).batch(["a", "a " * 100, ""])
    assert rows.shape == (3, MAX_WORDS)
    assert rows.sum(1).tolist() == [1, MAX_WORDS, 0]


def test_the_empty_prompt_has_a_context_and_a_constant_pooled_vector():
    encoder = PromptEncoder(5).eval()
    with torch.no_grad():
        context, pooled = encoder(torch.zeros(2, MAX_WORDS, dtype=torch.long))
    assert context.shape == (2, MAX_WORDS, WIDTH)
    assert torch.equal(pooled[0], encoder.pool.bias)


def test_a_word_weight_scales_that_words_context_alone():
    encoder = PromptEncoder(5).eval()
    numbers = torch.tensor([[1, 2] + [0] * (MAX_WORDS - 2)])
    weights = torch.ones(1, MAX_WORDS)
    weights[0, 1] = 1.5
    with torch.no_grad():
        plain, weighted = encoder(numbers).context, encoder(numbers, weights).context
    assert torch.allclose(weighted[0, 1], 1.5 * plain[0, 1])
    assert torch.equal(weighted[0, 0], plain[0, 0])
