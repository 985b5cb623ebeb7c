"""The text encoder of CCM-nano: words to a context sequence and a pooled vector. It needs torch only.

The vocabulary is a list of words that travels in the weight file. Words outside it are skipped, so that free
wording does no harm; an empty prompt is the unconditional one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .errors import WeightsError

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "ccm_nano_text.safetensors"
MAX_WORDS = 40
WIDTH = 192
PAD = 0

WORD = re.compile(r"[a-z0-9]+")


class EncodedPrompt(NamedTuple):
    """`context` [B, MAX_WORDS, WIDTH] and `pooled` [B, WIDTH]."""

    context: Tensor
    pooled: Tensor


class WordTokenizer:
    """Turns a prompt into word numbers; 0 pads, unknown words are skipped."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.number = {word: i + 1 for i, word in enumerate(self.words)}

    def __call__(self, text: str) -> list[int]:
        """Return the numbers of the known words of `text`, at most MAX_WORDS."""
        known = [self.number[w] for w in WORD.findall(text.lower()) if w in self.number]
        return known[:MAX_WORDS]

    def batch(self, texts: Sequence[str]) -> Tensor:
        """Return padded word numbers [B, MAX_WORDS]."""
        rows = [self(text) for text in texts]
        return torch.tensor([row + [PAD] * (MAX_WORDS - len(row)) for row in rows], dtype=torch.long)


class PromptEncoder(nn.Module):
    """Two pre-norm transformer layers over word and position embeddings."""

    def __init__(self, vocabulary_size: int, width: int = WIDTH, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size + 1, width)
        self.positions = nn.Parameter(0.02 * torch.randn(MAX_WORDS, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.pool = nn.Linear(width, width)

    def forward(self, numbers: Tensor, weights: Tensor | None = None) -> EncodedPrompt:
        """Encode word numbers [B, MAX_WORDS]; `weights` [B, MAX_WORDS] scale a word's effect around 1.

        Padding is attended to as a learned word, so that an empty prompt is an ordinary input.
        """
        x = self.words(numbers) + self.positions
        for layer in self.layers:
            x = layer(x)
        context = self.norm(x)
        if weights is not None:
            context = context * weights[..., None]
        real = (numbers != PAD).to(context)[..., None]
        pooled = self.pool((context * real).sum(1) / real.sum(1).clamp(min=1.0))
        return EncodedPrompt(context, pooled)


def load_prompt_encoder(path: Path = WEIGHTS) -> tuple[PromptEncoder, WordTokenizer]:
    """Load encoder and words from a weight file; raises WeightsError when it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            words = json.loads(file.metadata()["ccm.words"])
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        encoder = PromptEncoder(len(words))
        encoder.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"The prompt encoder {path.name} cannot be read from {path.parent} ({error})",
            fix="restore the folder weights/ from the pack's repository",
        ) from error
    return encoder.eval(), WordTokenizer(words)


@torch.no_grad()
def encode_prompts(encoder: PromptEncoder, tokenizer: WordTokenizer, texts: Sequence[str]) -> EncodedPrompt:
    """Encode texts without gradients."""
    return encoder(tokenizer.batch(texts))
