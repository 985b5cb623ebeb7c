"""The CCM-nano base, its nerve-mask control net and its prompt encoder, trained together from scratch.

Rectified flow on latents: x = (1 - s) z + s e, target e - z, with s shifted by 3 as the host's SD3 sampling
does (Esser et al. 2024, arXiv 2403.03206). The control net is dropped for a part of the samples, so that
the base draws alone too, and so is the caption for a sixth, for classifier-free guidance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...ccm.cohorts import NEGATIVE_PROMPT
from ...ccm.prompt_encoder import WIDTH, PromptEncoder, WordTokenizer
from .autoencoder import LATENT_CHANNELS, SD3_SCALE, SD3_SHIFT

DEPTH = 4
CONTROL_BLOCKS = 1
PATCH = 2  # latent pixels of one place
PLACES = 64  # a side at most, 1024 pixels; steps between them are the same in frames of every size
FRAME_PLACES = 24  # of a frame of 384 pixels
SHIFT = 3.0
CAPTION_DROP = 0.16
LEVEL_MEAN = 0.3  # of the logit of the noise level, before the shift; its deviation is 1


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
            "num_patches": PLACES**2,
            "pos_embed_max_size": PLACES,
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

    def forward(
        self,
        x: Tensor,
        s: Tensor,
        hint: Tensor,
        use_hint: Tensor,
        words: Tensor,
        corners: Tensor | None = None,
    ) -> Tensor:
        """Velocity at noisy latents x [B,16,h,w], s [B]; `use_hint` [B] is 0 or 1.

        A crop keeps its place in a frame of FRAME_PLACES: `corners` [B,2] are row and column of its first patch.
        Without, the host's rule holds: the middle.
        """
        parts: tuple[Any, ...] = (self.base, self.control)
        for part in parts:
            part.__dict__.pop("cropped_pos_embed", None)
            if corners is not None:
                part.cropped_pos_embed = partial(_window, part.pos_embed, corners)
        prompt = self.text(words)
        c = self.control(x, s * 1000, prompt.pooled, prompt.context, hint=hint * SD3_SCALE)
        c = {"output": [o * use_hint[:, None, None] for o in c["output"]]}
        return self.base(x, s * 1000, context=prompt.context, y=prompt.pooled, control=c)


def _window(places: Tensor, corners: Tensor, hw: tuple[int, int], device: Any = None) -> Tensor:
    """Position embedding of each crop [B,h*w,C], `hw` latent pixels in size, from that of all places."""
    first = corners + (PLACES - FRAME_PLACES) // 2
    rows, columns = (first[:, k, None] + torch.arange(hw[k] // PATCH, device=places.device) for k in (0, 1))
    grid = places.view(PLACES, PLACES, -1)
    return grid[rows[:, :, None], columns[:, None, :]].flatten(1, 2)


def _initialise(base: Any, control: Any) -> None:
    """Sines for places; zero modulations and last layer; a control output that is small but not zero."""
    from comfy.ldm.modules.diffusionmodules.mmdit import get_2d_sincos_pos_embed_torch

    with torch.no_grad():
        for model in (base, control):
            places = get_2d_sincos_pos_embed_torch(
                model.hidden_size, PLACES, PLACES, (PLACES - 1) / 2, (PLACES - 1) / 2
            )
            model.pos_embed.copy_(places[None])
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
class Sampling:
    """What a sample is: a crop of `side` latent pixels, without its mask in a share of `control_drop`.

    `level_mean_alone` takes the place of LEVEL_MEAN without a mask: where nerves lie is settled in strong noise.
    """

    side: int
    control_drop: float
    level_mean_alone: float = LEVEL_MEAN


class BaseProblem:
    """Implements `loop.Problem`: base, control net and prompt encoder on random crops."""

    def __init__(
        self,
        model: NanoModel,
        data: Latents,
        tokenizer: WordTokenizer,
        sampling: Sampling,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model, self.device = model.to(device), device
        self.data, self.sampling, self.seed = data, sampling, seed
        self.empty = tokenizer.batch(["", NEGATIVE_PROMPT])

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def losses(self, positions: range) -> Tensor:
        samples = zip(*(self._sample(k) for k in positions), strict=True)
        z, hint, e, words, s, use_hint, corners = (torch.stack(part).to(self.device) for part in samples)
        noise = s[:, None, None, None]
        v = self.model((1 - noise) * z + noise * e, s, hint, use_hint, words, corners)
        return (v.float() - (e - z)).square().mean((1, 2, 3))

    def refresh(self) -> None:
        """Nothing is derived from the parameters."""

    def _sample(self, position: int) -> tuple[Tensor, ...]:
        """Latents, hint and noise [16,side,side], words [40], noise level, 1 where the hint is used, corner [2]."""
        rng, data, sampling = np.random.default_rng((self.seed, position)), self.data, self.sampling
        side = sampling.side
        k = int(rng.integers(len(data.frames)))
        corner = rng.integers(0, (data.frames.shape[-1] - side) // PATCH + 1, 2)
        i, j = PATCH * corner
        z, hint = (source[k, :, i : i + side, j : j + side].float() for source in (data.frames, data.hints))
        words = self.empty[rng.integers(2)] if rng.random() < CAPTION_DROP else data.captions[k]
        deviation, use_hint = rng.standard_normal(), rng.random() >= sampling.control_drop
        mean = LEVEL_MEAN if use_hint else sampling.level_mean_alone
        s = shifted(torch.sigmoid(torch.tensor(mean + deviation)))
        e = torch.randn(z.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**63))))
        return (
            (z - SD3_SHIFT) * SD3_SCALE,
            hint,
            e,
            words.long(),
            s.float(),
            torch.tensor(float(use_hint)),
            torch.from_numpy(corner),
        )


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
