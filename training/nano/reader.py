"""The reader of free wording, fitted to the grammar of wordings and to prompts that name no cohort."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F

from ...ccm.cohorts import NEGATIVE_PROMPT, NEUTRAL_PROMPT, Cohort
from ...ccm.prompt_reader import CLASSES, PromptReader, phrases_of
from .phantoms import describe_phantom
from .wording import free_wording

WORDINGS = 6000
CAPTIONS = 200
FEWEST = 4  # wordings that a phrase must be in
STEPS, LEARNING_RATE, DECAY = 120, 0.05, 2e-4


def fit_reader(seed: int) -> PromptReader:
    """Fit by logistic regression with a ridge; the same seed gives the same reader."""
    rng = np.random.default_rng(seed)
    texts = [(free_wording(c, rng), c) for c in Cohort for _ in range(WORDINGS // len(Cohort))]
    nothing = [NEGATIVE_PROMPT, NEUTRAL_PROMPT, ""] * 40
    nothing += [describe_phantom(np.random.default_rng([seed, k])) for k in range(CAPTIONS)]
    texts += [(text, None) for text in nothing for _ in range(4)]
    seen = [phrases_of(text) for text, _ in texts]
    count = Counter(phrase for phrases in seen for phrase in phrases)
    phrases = sorted(phrase for phrase, times in count.items() if times >= FEWEST)
    number = {phrase: k for k, phrase in enumerate(phrases)}
    rows = [sorted(number[p] for p in each if p in number) for each in seen]
    starts = torch.tensor([0, *np.cumsum([len(row) for row in rows])[:-1].tolist()])
    flat = torch.tensor([k for row in rows for k in row])
    wanted = torch.tensor([CLASSES.index(cohort) for _, cohort in texts])
    weight = torch.zeros(len(phrases), len(CLASSES), requires_grad=True)
    bias = torch.zeros(len(CLASSES), requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=LEARNING_RATE)
    for _ in range(STEPS):
        logits = F.embedding_bag(flat, weight, starts, mode="sum") + bias
        loss = F.cross_entropy(logits, wanted) + DECAY * weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return PromptReader(phrases, weight.detach(), bias.detach())
