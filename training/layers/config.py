"""What an adapter is: the `[adapter]` table of a training configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints
from typing import Literal as Choice

from ...ccm.errors import TrainingError


@dataclass(frozen=True)
class AdapterConfig:
    """The adapter that a run trains; raises TrainingError for a value that no adapter can have.

    method: "wdlora" (DoRA: a magnitude per output row beside the low-rank update), "lora", or "rslora" (LoRA
    scaled by alpha / sqrt(rank); Kalajdzievski 2023, arXiv 2312.03732).
    rank, alpha: the low-rank update is (alpha / rank) B A.
    targets: a regular expression that matches whole module names of the network, such as `blocks\\..*\\.qkv`;
    empty for those that the base recommends.
    norm: how WDLoRA computes the row norms: "factored" (this pack's) or "peft" (PEFT's own layers: slower, and
    for bases in fp32, bf16 and fp16 only; for comparison).
    """

    method: Choice["wdlora", "lora", "rslora"] = "wdlora"
    rank: int = 16
    alpha: float = 16.0
    targets: str = ""
    norm: Choice["factored", "peft"] = "factored"

    def __post_init__(self) -> None:
        for key in ("method", "norm"):
            _check_choice(key, getattr(self, key), get_args(get_type_hints(AdapterConfig)[key]))
        if self.rank < 1:
            raise TrainingError(f"adapter.rank is {self.rank}", fix="use a rank of at least 1, such as 16")
        if not self.alpha > 0:
            raise TrainingError(
                f"adapter.alpha is {self.alpha}", fix="use a positive number, such as the rank"
            )
        try:
            re.compile(self.targets)
        except re.error as error:
            raise TrainingError(
                f"adapter.targets {self.targets!r} is no regular expression: {error}",
                fix="mend the expression",
            ) from error

    @property
    def scale(self) -> float:
        """s in W0 + s B A."""
        return self.alpha / (self.rank**0.5 if self.method == "rslora" else self.rank)


def _check_choice(key: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = get_close_matches(str(value), choices, n=1) or choices
        raise TrainingError(
            f"adapter.{key} is {value!r}, which is none of {', '.join(choices)}", fix=f"use {near[0]!r}"
        )
