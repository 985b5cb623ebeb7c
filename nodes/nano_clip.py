"""The nano prompt encoder in the shape that the host expects of a text encoder."""

from __future__ import annotations

import json
from typing import Any

import comfy.sd
import torch
from comfy.sd1_clip import escape_important, token_weights, unescape_important

from ..ccm.prompt_encoder import MAX_WORDS, PAD, PromptEncoder, WordTokenizer
from ..ccm.prompt_reader import load_prompt_reader

TokenWeights = dict[str, list[list[tuple[int, float]]]]


class NanoTokenizer:
    """Splits a prompt into known words, with the host's (word:1.2) weights."""

    def __init__(
        self, embedding_directory: str | None = None, tokenizer_data: dict[str, Any] | None = None
    ) -> None:
        self.words = WordTokenizer((tokenizer_data or {}).get("words", []))

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **_: object) -> TokenWeights:
        """Return one chunk of (word number, weight) pairs; free wording is read as its cohort's clinical prompt."""
        spans = token_weights(escape_important(load_prompt_reader().clinical(text)), 1.0)
        pairs = [(n, weight) for span, weight in spans for n in self.words(unescape_important(span))]
        return {"nano": [pairs[:MAX_WORDS]]}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {}


class NanoTextEncoder(torch.nn.Module):
    """PromptEncoder behind the calls that comfy.sd.CLIP makes."""

    def __init__(
        self, vocabulary_size: int, device: Any = None, dtype: Any = None, model_options: Any = None
    ) -> None:
        super().__init__()
        self.encoder = PromptEncoder(vocabulary_size).to(device)  # tiny: always float32
        self.dtypes = {torch.float32}

    def set_clip_options(self, options: dict[str, Any]) -> None:
        """The encoder has one output layer; the host's options do not apply."""

    def reset_clip_options(self) -> None:
        """See set_clip_options."""

    def encode_token_weights(self, tokens: TokenWeights) -> tuple[torch.Tensor, torch.Tensor]:
        """Return context [B,40,192] and pooled [B,192]."""
        chunks = tokens["nano"]
        device = self.encoder.positions.device
        numbers = torch.full((len(chunks), MAX_WORDS), PAD, dtype=torch.long, device=device)
        weights = torch.ones((len(chunks), MAX_WORDS), device=device)
        for row, chunk in enumerate(chunks):
            for column, (number, weight) in enumerate(chunk):
                numbers[row, column], weights[row, column] = number, weight
        return tuple(self.encoder(numbers, weights))

    def load_sd(self, state: dict[str, torch.Tensor]) -> Any:
        return self.encoder.load_state_dict(state)


def load_nano_clip(state: dict[str, torch.Tensor], metadata: dict[str, str]) -> comfy.sd.CLIP:
    """Wrap the prompt encoder's weights and word list as the host's CLIP."""
    words = json.loads(metadata["ccm.words"])

    class Target:
        params = {"vocabulary_size": len(words)}
        clip = NanoTextEncoder
        tokenizer = NanoTokenizer

    clip = comfy.sd.CLIP(Target, tokenizer_data={"words": words})
    clip.load_sd({k: v.float() for k, v in state.items()})
    return clip
