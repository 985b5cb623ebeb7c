"""What the trainer asks of a base model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...ccm.cohorts import Cohort

Tensors = Mapping[str, Tensor]  # each with a first axis of one sample


@dataclass(frozen=True)
class Condition:
    """What each sample of a batch is conditioned on: its encoded prompt, and its encoded mask or None.

    The samples stay apart, because text encoders give contexts of different lengths and a dropped mask has no
    tensors at all; `groups` gathers those that the model can see in one call.
    """

    prompts: tuple[Tensors, ...]
    masks: tuple[Tensors | None, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, part: slice) -> Condition:
        return Condition(self.prompts[part], self.masks[part])

    def to(self, device: torch.device | str) -> Condition:
        """Return the condition with its tensors on the device."""
        return Condition(
            tuple(_to(prompt, device) for prompt in self.prompts),
            tuple(None if mask is None else _to(mask, device) for mask in self.masks),
        )

    def groups(self) -> list[list[int]]:
        """Return the numbers of the samples, in groups whose tensors have the same names and shapes."""
        found: dict[Any, list[int]] = {}
        for number, (prompt, mask) in enumerate(zip(self.prompts, self.masks, strict=True)):
            found.setdefault((_shapes(prompt), None if mask is None else _shapes(mask)), []).append(number)
        return list(found.values())


def stack(parts: list[Tensors]) -> dict[str, Tensor]:
    """Join the tensors of samples that have the same names and shapes."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _to(tensors: Tensors, device: torch.device | str) -> Tensors:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _shapes(tensors: Tensors) -> tuple[tuple[str, torch.Size], ...]:
    return tuple((name, tensors[name].shape) for name in sorted(tensors))


class Base(Protocol):
    """A frozen base model with its text encoder, autoencoder and mask conditioning.

    Latents are those of the autoencoder, [B,C,h,w] or [B,C,1,h,w]; the base scales them as its sampler does.
    """

    family: str
    model: Any  # comfy.model_base.BaseModel, in main memory until `blocks.place` moves it to the device
    device: torch.device
    targets: str  # regular expression over the module names of `network` that an adapter is put on by default
    blocks: str  # the same for the modules that checkpointing and offloading work on, one after another
    fingerprint: str  # of all weights; part of every cache key
    negative_prompt: str
    latent_px: int  # frame pixels to the side of one latent pixel

    @property
    def network(self) -> nn.Module:
        """The module that adapters are injected into."""
        ...

    def prompt_for(self, cohort: Cohort | None) -> str:
        """Return the clinical prompt of a cohort, or the neutral one."""
        ...

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Encode frames [B,H,W] in 0..1 to latents."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to frames [B,H,W] in 0..1."""
        ...

    def encode_prompt(self, prompt: str, mask: Tensor | None) -> Tensors:
        """Encode a prompt; the mask [H,W] counts only where the text encoder sees it (`text_sees_mask`)."""
        ...

    @property
    def text_sees_mask(self) -> bool: ...

    def encode_mask(self, mask: Tensor) -> Tensors:
        """Encode a mask [H,W] in 0..1 as this base is conditioned on it: hint, reference or concatenation."""
        ...

    def denoised(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """Predict clean latents from noisy ones at noise levels `sigma` [B], differentiably.

        `x` and the result are scaled as the sampler has them (`model.process_latent_in`).
        """
        ...

    def sample(
        self,
        condition: Condition,
        negative: Condition,
        seed: int,
        steps: int,
        guidance: float,
        shape: torch.Size,
    ) -> Tensor:
        """Generate latents of this shape with the host's sampler, the network as it is (adapter injected)."""
        ...

    def free_encoders(self) -> None:
        """Move text encoder and autoencoder off the device; they come back when they are used."""
        ...
