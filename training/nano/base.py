"""The CCM-nano base, its nerve-mask control net and its prompt encoder, trained together from scratch.

Rectified flow on latents: x = (1 - s) z + s e, target e - z, with s shifted by 3 as the host's SD3 sampling
does (Esser et al. 2024, arXiv 2403.03206). The control net is dropped for a third of the samples, so that
the base draws alone too, and so is the caption for a sixth, for classifier-free guidance.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...ccm.cohorts import NEGATIVE_PROMPT
from ...ccm.prompt_encoder import WIDTH, PromptEncoder, WordTokenizer
from .autoencoder import LATENT_CHANNELS, SD3_SCALE, SD3_SHIFT

DEPTH = 4
CONTROL_BLOCKS = 1
SHIFT = 3.0
CONTROL_DROP = 0.35
CAPTION_DROP = 0.16

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Latents:
    """Training data: frames and hints [N,16,48,48] as the encoder gives them, captions [N,40]."""

    frames: Tensor
    hints: Tensor
    captions: Tensor


class NanoModel(nn.Module):
    """Base, control net and prompt encoder, with the host's scaling of latents and hints."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        from comfy.cldm.mmdit import ControlNet
        from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper

        config = {
            "input_size": None,
            "in_channels": LATENT_CHANNELS,
            "depth": DEPTH,
            "adm_in_channels": WIDTH,
            "context_embedder_config": {
                "target": "torch.nn.Linear",
                "params": {"in_features": WIDTH, "out_features": 64 * DEPTH},
            },
            "operations": nn,
        }
        self.base = OpenAISignatureMMDITWrapper(**config)
        self.control = ControlNet(num_blocks=CONTROL_BLOCKS, **config)
        self.text = PromptEncoder(vocabulary_size)
        _initialise(self.base, self.control)

    def forward(self, x: Tensor, s: Tensor, hint: Tensor, use_hint: Tensor, words: Tensor) -> Tensor:
        """Velocity at noisy latents x [B,16,h,w], s [B]; `use_hint` [B] is 0 or 1."""
        prompt = self.text(words)
        c = self.control(x, s * 1000, prompt.pooled, prompt.context, hint=hint * SD3_SCALE)
        c = {"output": [o * use_hint[:, None, None] for o in c["output"]]}
        return self.base(x, s * 1000, context=prompt.context, y=prompt.pooled, control=c)


def _initialise(base: Any, control: Any) -> None:
    """Zero the modulations and the last layer; start the control output small but not at zero."""
    with torch.no_grad():
        for model in (base, control):
            for name, module in model.named_modules():
                if name.endswith("adaLN_modulation.1") or name == "final_layer.linear":
                    module.weight.zero_()
                    module.bias.zero_()
        for linear in control.controlnet_blocks:
            linear.weight.normal_(0, 0.5 / linear.in_features**0.5)
            linear.bias.zero_()
        control.pos_embed_input.proj.weight.mul_(0.4)


def shifted(u: Tensor, shift: float = SHIFT) -> Tensor:
    """The host's flow shift: s = shift u / (1 + (shift - 1) u)."""
    return shift * u / (1 + (shift - 1) * u)


@dataclass(frozen=True)
class Schedule:
    """One run of the optimizer: random crops of `side` latent pixels, `batch` at a time."""

    side: int
    batch: int
    steps: int
    learning_rate: float
    seed: int

    def rate(self, step: int) -> float:
        """Warm-up over 100 steps, then a cosine to a tenth."""
        decay = 0.1 + 0.9 * np.cos(0.5 * np.pi * step / self.steps) ** 2
        return self.learning_rate * min(1.0, (step + 1) / 100) * decay


def train_base(
    model: NanoModel,
    data: Latents,
    schedule: Schedule,
    tokenizer: WordTokenizer,
    snapshot: Callable[[NanoModel, str], None],
) -> NanoModel:
    """Train and return the moving average of the weights; `snapshot` gets it every 400 steps."""
    generator = torch.Generator().manual_seed(schedule.seed)
    rng = np.random.default_rng(schedule.seed)
    average = deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    empty, smooth = tokenizer.batch(["", NEGATIVE_PROMPT]), None
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        z, hint, words = _batch(data, schedule, rng)
        dropped = torch.from_numpy(rng.random(schedule.batch) < CAPTION_DROP)
        words[dropped] = empty[rng.integers(0, 2, int(dropped.sum()))]
        loss = _loss(model, z, hint, words, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _update_average(average, model, min(0.998, (step + 1) / (step + 10)))
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            log.info(
                "base step %d of %d, side %d, loss %.4f", step + 1, schedule.steps, schedule.side, smooth
            )
        if (step + 1) % 400 == 0:
            snapshot(average, f"{step + 1} steps at side {schedule.side}")
    return average.requires_grad_(True)


def _batch(data: Latents, schedule: Schedule, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    side, batch, full = schedule.side, schedule.batch, data.frames.shape[-1]
    picks = rng.integers(0, len(data.frames), batch)
    corners = rng.integers(0, full - side + 1, (batch, 2))

    def cut(source: Tensor) -> Tensor:
        crops = [source[k, :, i : i + side, j : j + side] for k, (i, j) in zip(picks, corners, strict=True)]
        return torch.stack(crops).float()

    z = (cut(data.frames) - SD3_SHIFT) * SD3_SCALE
    return z, cut(data.hints), data.captions[torch.from_numpy(picks)].long()


def _loss(model: NanoModel, z: Tensor, hint: Tensor, words: Tensor, generator: torch.Generator) -> Tensor:
    s = shifted(torch.sigmoid(0.3 + torch.randn(len(z), generator=generator)))
    e = torch.randn(z.shape, generator=generator)
    x = (1 - s)[:, None, None, None] * z + s[:, None, None, None] * e
    use_hint = (torch.rand(len(z), generator=generator) >= CONTROL_DROP).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        v = model(x, s, hint, use_hint, words)
    return (v.float() - (e - z)).square().mean()


@torch.no_grad()
def _update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, latest in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(latest, 1 - decay)


def control_to_diffusers(
    state: dict[str, Tensor], depth: int = DEPTH, blocks: int = CONTROL_BLOCKS
) -> dict[str, Tensor]:
    """Rename a control net's weights to the diffusers names that the stock ControlNetLoader reads."""
    from comfy.utils import mmdit_to_diffusers

    out = {k: v for k, v in state.items() if k.startswith(("controlnet_blocks.", "pos_embed_input."))}
    for name, target in mmdit_to_diffusers({"depth": depth, "num_blocks": blocks}).items():
        key, rows = (target, None) if isinstance(target, str) else target[:2]
        if key in state:
            out[name] = (state[key] if rows is None else state[key].narrow(*rows)).contiguous()
    return out
