"""Which cohort a prompt in free wording names: a linear classifier of its words and pairs of words.

CCM-nano's base and adapters know each cohort by its clinical prompt. A wording that the reader is sure of is
replaced by that prompt; everything else, captions and the clinical prompts themselves among it, stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from torch import Tensor

from .cohorts import Cohort, clinical_prompt
from .errors import WeightsError
from .prompt_encoder import WORD

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "ccm_nano_reader.safetensors"
PHRASES = "ccm.phrases"  # metadata: the phrases, in the order of the weights
CLASSES: tuple[Cohort | None, ...] = (*Cohort, None)  # None: the wording names no cohort
SURE = 0.7


@dataclass(frozen=True, eq=False)
class PromptReader:
    """`weight` [phrases, classes] and `bias` [classes] give the logits of CLASSES."""

    phrases: Sequence[str]
    weight: Tensor
    bias: Tensor

    def cohort(self, text: str) -> Cohort | None:
        """Return the cohort that a wording surely names, else None."""
        number = {phrase: k for k, phrase in enumerate(self.phrases)}
        known = [number[phrase] for phrase in sorted(phrases_of(text)) if phrase in number]
        chances = (self.weight[known].float().sum(0) + self.bias).softmax(0)
        best = int(chances.argmax())
        return CLASSES[best] if chances[best] >= SURE else None

    def clinical(self, text: str) -> str:
        """Return the clinical prompt of the cohort that a wording names; any other text as it is."""
        if any(clinical_prompt(cohort) in text for cohort in Cohort):
            return text
        cohort = self.cohort(text)
        return text if cohort is None else clinical_prompt(cohort)


def phrases_of(text: str) -> set[str]:
    """The words of a text, its pairs of neighbours, and its pairs with one word between."""
    words = WORD.findall(text.lower())
    pairs = {f"{a} {b}" for a, b in pairwise(words)}
    return {*words, *pairs, *(f"{a} _ {b}" for a, b in zip(words, words[2:], strict=False))}


@lru_cache(maxsize=2)
def load_prompt_reader(path: Path = WEIGHTS) -> PromptReader:
    """Load the reader; raises WeightsError when its file is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            phrases = json.loads(file.metadata()[PHRASES])
            return PromptReader(phrases, file.get_tensor("weight").float(), file.get_tensor("bias").float())
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The prompt reader {path.name} cannot be read from {path.parent} ({error})",
            fix="restore the folder weights/ from the pack's repository",
        ) from error
