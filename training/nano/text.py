"""The prompt encoder taught to read free wording.

The encoder that the base was trained with knows captions and the clinical prompts. A second one, with a larger
vocabulary and the same first values, learns to give for any wording of a cohort what the first gives for its
clinical prompt, and for everything else what the first gives; so base and adapters go on unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...ccm.cohorts import NEGATIVE_PROMPT, NEUTRAL_PROMPT, Cohort, clinical_prompt
from ...ccm.prompt_encoder import PAD, EncodedPrompt, PromptEncoder, WordTokenizer, encode_prompts
from .wording import free_wording

COHORTS = tuple(Cohort)
FIXED = (
    "",
    NEGATIVE_PROMPT,
    NEUTRAL_PROMPT,
    *(clinical_prompt(c) for c in COHORTS),
    *(c.value for c in COHORTS),
)
FREE_SHARE, CAPTION_SHARE = 0.6, 0.25  # of a batch; the rest are fixed prompts
MODIFIED = 0.25  # of the free wordings go on with a caption
WORD_DROP = 0.08  # words that the vocabulary lacks are skipped, so some are missing from the start
SOFTNESS = 0.25  # of the cohort's choice, in units of what lies between cohorts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextSchedule:
    """One run of the optimizer."""

    steps: int
    batch: int = 64
    learning_rate: float = 4e-4
    seed: int = 7

    def rate(self, step: int) -> float:
        """Warm-up over 50 steps, then a cosine to nothing."""
        return (
            self.learning_rate
            * min(1.0, (step + 1) / 50)
            * float(np.cos(0.5 * np.pi * step / self.steps) ** 2)
        )


def widened(encoder: PromptEncoder, words: int) -> PromptEncoder:
    """Return a copy with room for so many words; the known ones keep their numbers."""
    wide = PromptEncoder(words)
    state = encoder.state_dict()
    known = state.pop("words.weight")
    wide.load_state_dict(state, strict=False)
    with torch.no_grad():
        wide.words.weight.mul_(known.std())
        wide.words.weight[: len(known)] = known
    return wide


def train_text(
    teacher: PromptEncoder,
    known: Sequence[str],
    new: Sequence[str],
    captions: Sequence[str],
    schedule: TextSchedule,
) -> tuple[PromptEncoder, list[str]]:
    """Return the taught encoder and its words: the known ones, then the new; `captions` are those of the base."""
    words = [*known, *(word for word in new if word not in set(known))]
    torch.manual_seed(schedule.seed)
    rng = np.random.default_rng(schedule.seed)
    student = widened(teacher, len(words)).train()
    few, many = WordTokenizer(known), WordTokenizer(words)
    yardstick = _Yardstick(teacher, few)
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        said, meant, cohorts = zip(*(_pair(captions, rng) for _ in range(schedule.batch)), strict=True)
        free = torch.tensor(cohorts)
        found = student(_with_gaps(many.batch(said), free >= 0, rng))
        loss = yardstick.far(found, encode_prompts(teacher, few, meant)) + yardstick.confusion(found, free)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 25 == 0:
            log.info("text step %d of %d, loss %.4f", step + 1, schedule.steps, loss.item())
    return student.eval(), words


def _pair(captions: Sequence[str], rng: np.random.Generator) -> tuple[str, str, int]:
    """What is said, the prompt that it means, and the number of the cohort where wording is free, else -1."""
    kind, caption = rng.random(), captions[int(rng.integers(len(captions)))]
    if kind < FREE_SHARE:
        number = int(rng.integers(len(COHORTS)))
        cohort = COHORTS[number]
        more = caption if rng.random() < MODIFIED else ""
        said = free_wording(cohort, rng)
        return (f"{said}, {more}" if more else said), clinical_prompt(cohort, more), number
    if kind < FREE_SHARE + CAPTION_SHARE:
        return caption, caption, -1
    text = FIXED[int(rng.integers(len(FIXED)))]
    return text, text, -1


def _with_gaps(numbers: Tensor, where: Tensor, rng: np.random.Generator) -> Tensor:
    """Leave words out of the rows `where`, closing up the gaps."""
    out = numbers.clone()
    for k in where.nonzero()[:, 0].tolist():
        row = numbers[k][numbers[k] != PAD]
        kept = row[torch.from_numpy(rng.random(len(row)) >= WORD_DROP)]
        out[k] = PAD
        out[k, : len(kept)] = kept
    return out


class _Yardstick:
    """Distances in units of what lies between the cohorts' clinical prompts, which for the teacher is little."""

    def __init__(self, teacher: PromptEncoder, tokenizer: WordTokenizer) -> None:
        self.centres = _vectors(encode_prompts(teacher, tokenizer, [clinical_prompt(c) for c in COHORTS]))
        pairs = len(COHORTS) * (len(COHORTS) - 1)
        self.units = [_between(x, x).sum() / pairs for x in self.centres]

    def far(self, found: EncodedPrompt, target: EncodedPrompt) -> Tensor:
        """Mean distance from what is wanted, context and pooled vector added."""
        parts = zip(_vectors(found), _vectors(target), self.units, strict=True)
        return torch.stack([(a - b).square().mean() / unit for a, b, unit in parts]).sum()

    def confusion(self, found: EncodedPrompt, cohorts: Tensor) -> Tensor:
        """Cross entropy of telling the cohort by the nearest centre, for rows whose cohort is not -1."""
        parts = zip(_vectors(found), self.centres, self.units, strict=True)
        logits = torch.stack([-_between(a, c) / (SOFTNESS * unit) for a, c, unit in parts]).sum(0)
        return F.cross_entropy(logits, cohorts, ignore_index=-1)


def _vectors(encoded: EncodedPrompt) -> tuple[Tensor, Tensor]:
    """Context and pooled vector, each as one row a prompt."""
    return encoded.context.flatten(1), encoded.pooled


def _between(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each row of a [N,d] and each row of b [M,d], [N,M]."""
    return torch.stack([(a - row).square().mean(1) for row in b], dim=1)
