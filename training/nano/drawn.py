"""Latents as the family itself draws them: what the decoder meets in the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ...ccm.adapter import read_adapter
from ...ccm.adapter.dora import AdapterLayer, merged
from ...ccm.cohorts import NEGATIVE_PROMPT
from ..bases.base import Condition
from ..bases.registry import load_base
from ..blocks import place
from ..config import BaseConfig
from .autoencoder import BLOCK_PX, LATENT_CHANNELS
from .dataset import PhantomSet

STEPS, GUIDANCE = 20, 1.5  # as recommended to users


def draw_latents(files: Mapping[str, Path], adapter: Path, pairs: PhantomSet, n: int) -> Tensor:
    """Draw latents fp16 [n,16,h,w] for the masks and captions of the first n pairs, with the adapter.

    `files` names the parts of the family as the table [base] of a configuration does.
    """
    from tqdm import trange

    base = load_base(
        BaseConfig(
            family="nano",
            checkpoint=str(files["checkpoint"]),
            vae=str(files["vae"]),
            text_encoder=(str(files["text_encoder"]),),
            control_net=str(files["control_net"]),
        )
    )
    place(base.model, base.device, ())
    _merge(base.network, read_adapter(adapter).layers)
    latents = []
    for k in trange(n, desc="latents", unit="frame"):
        mask = torch.from_numpy(pairs.masks[k]).float() / 255
        hint = (base.encode_mask(mask),)
        positive, negative = (
            Condition((base.encode_prompt(prompt, mask),), hint)
            for prompt in (pairs.captions[k], NEGATIVE_PROMPT)
        )
        size = torch.Size((1, LATENT_CHANNELS, *(side // BLOCK_PX for side in mask.shape)))
        latents.append(base.sample(positive, negative, k, STEPS, GUIDANCE, size).half())
    return torch.cat(latents)


@torch.no_grad()
def _merge(network: nn.Module, layers: Mapping[str, AdapterLayer]) -> None:
    for name, layer in layers.items():
        weight = network.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        weight.copy_(merged(weight, layer))
