"""From records to batches: latents, prompts and masks, encoded once and cached on disk."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bases.base import Condition


@dataclass(frozen=True)
class Batch:
    """Samples ready for the objective.

    Latents [B,C,h,w] or [B,C,1,h,w] as the autoencoder gives them; `nerves` [B,h,w] is the share of each latent
    pixel that is nerve; `noise_seeds` [B] fix the noise and the noise level of each sample.
    """

    latents: Tensor
    condition: Condition
    nerves: Tensor
    noise_seeds: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, part: slice) -> Batch:
        """Return some of the samples, such as a micro-batch."""
        return Batch(self.latents[part], self.condition[part], self.nerves[part], self.noise_seeds[part])

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with what the model sees on the device."""
        return Batch(
            self.latents.to(device), self.condition.to(device), self.nerves.to(device), self.noise_seeds
        )
