"""The WDLoRA trainer: a DoRA or LoRA adapter on a base model that the ComfyUI host has loaded.

Training and inference share one implementation: the host's own model classes predict, PEFT adapts them, and
the objective is the flow-matching velocity of the host's sampler (Lipman et al. 2023, arXiv 2210.02747):

    x = (1 - s) z + s e,   loss = w || (x - denoised(x, s)) / s - (e - z) ||^2

The weight w raises the nerves, which fill a few percent of a frame and carry what sets the cohorts apart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..ccm.adapter import base_from_peft, layers_from_peft, save_adapter

log = logging.getLogger(__name__)

TARGETS = (
    r"joint_blocks\..*(qkv|proj|fc1|fc2|adaLN_modulation\.1)"
    r"|context_embedder|y_embedder\.mlp\.[02]|final_layer\.linear"
)


@dataclass(frozen=True)
class AdapterConfig:
    """One training run; `targets` is a regular expression over the host's module names."""

    kind: Literal["wdlora", "lora"] = "wdlora"
    rank: int = 16
    alpha: float = 16.0
    side: int = 24  # latent pixels of a crop
    steps: int = 650
    batch: int = 16
    learning_rate: float = 2e-3
    noise_bias: float = 0.8  # mean of the logit-normal noise level; a cohort shows while the noise is strong
    nerve_weight: float = 12.0  # a latent pixel full of nerve counts 1 + this, before normalisation
    control_drop: float = 0.3
    caption_drop: float = 0.1
    seed: int = 5
    targets: str = TARGETS


@dataclass(frozen=True)
class AdapterData:
    """Encoded pairs.

    Latents and hints [N,16,h,w] as the autoencoder gives them; `nerves` [N,h,w] is the share of each latent
    pixel that is nerve; `captions` [N] indexes `Prompts`.
    """

    latents: Tensor
    hints: Tensor
    nerves: Tensor
    captions: Tensor


@dataclass(frozen=True)
class Prompts:
    """Encoded captions: context [K,T,W] and pooled [K,P]; the last one is the empty prompt."""

    context: Tensor
    pooled: Tensor


def train_adapter(
    model: Any,
    control: Callable[..., dict[str, list[Tensor]]],
    data: AdapterData,
    prompts: Prompts,
    config: AdapterConfig,
    path: Path,
) -> None:
    """Train an adapter on the host's base model (comfy.model_base.BaseModel) and write it to `path`.

    `control` is the control net's module; it stays as it is, and so do the base weights. The adapter is
    taken out of the model again, whatever happens.
    """
    network = model.diffusion_model
    _inject(network, config)
    try:
        trainable = [p for p in network.parameters() if p.requires_grad]
        log.info("%s: %d trainable numbers", config.kind, sum(p.numel() for p in trainable))
        losses = _optimise(model, control, data, prompts, config, trainable)
        record = {
            **asdict(config),
            "final_loss": round(float(np.mean(losses[-100:])), 5),
            "pairs": len(data.latents),
        }
        save_adapter(path, layers_from_peft(network), base_from_peft(network), training=record)
    finally:
        _eject(network)


def _inject(network: torch.nn.Module, config: AdapterConfig) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(config.seed)
    network.requires_grad_(False)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # pyright: ignore[reportArgumentType]  PEFT takes any number
        use_dora=config.kind == "wdlora",
        target_modules=config.targets,
        lora_dropout=0.0,
    )
    inject_adapter_in_model(lora, network)


def _eject(network: torch.nn.Module) -> None:
    """Put the base layers back in place of PEFT's wrappers."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, BaseTunerLayer):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())


def _optimise(
    model: Any,
    control: Callable[..., dict[str, list[Tensor]]],
    data: AdapterData,
    prompts: Prompts,
    config: AdapterConfig,
    trainable: list[torch.nn.Parameter],
) -> list[float]:
    optimizer = torch.optim.AdamW(trainable, lr=config.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.steps, pct_start=0.05
    )
    rng, generator = np.random.default_rng(config.seed), torch.Generator().manual_seed(config.seed)
    losses = []
    for step in range(config.steps):
        crops = _crops(data, config, rng)
        dropped = torch.from_numpy(rng.random(config.batch) < config.caption_drop)
        crops.captions[dropped] = len(prompts.pooled) - 1
        loss = _loss(model, control, crops, _chosen(prompts, crops.captions), config, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 25 == 0:
            log.info(
                "%s step %d of %d, loss %.4f", config.kind, step + 1, config.steps, np.mean(losses[-100:])
            )
    return losses


def _crops(data: AdapterData, config: AdapterConfig, rng: np.random.Generator) -> AdapterData:
    """A batch of random pairs, cut at random places."""
    picks = rng.integers(0, len(data.latents), config.batch)
    height, width = data.latents.shape[-2:]
    corners = [
        (rng.integers(0, height - config.side + 1), rng.integers(0, width - config.side + 1)) for _ in picks
    ]

    def cut(source: Tensor) -> Tensor:
        crops = [
            source[k, ..., i : i + config.side, j : j + config.side]
            for k, (i, j) in zip(picks, corners, strict=True)
        ]
        return torch.stack(crops).float()

    return AdapterData(
        cut(data.latents), cut(data.hints), cut(data.nerves), data.captions[torch.from_numpy(picks)]
    )


def _chosen(prompts: Prompts, captions: Tensor) -> Prompts:
    return Prompts(prompts.context[captions], prompts.pooled[captions])


def _loss(
    model: Any,
    control: Callable[..., dict[str, list[Tensor]]],
    crops: AdapterData,
    prompt: Prompts,
    config: AdapterConfig,
    generator: torch.Generator,
) -> Tensor:
    z = model.process_latent_in(crops.latents)
    e = torch.randn(z.shape, generator=generator)
    u = torch.sigmoid(config.noise_bias + torch.randn(len(z), generator=generator))
    s = model.model_sampling.sigma(u * 1000)
    column = s[:, None, None, None]
    x = model.model_sampling.noise_scaling(column, e, z)
    use = (torch.rand(len(z), generator=generator) >= config.control_drop).float()[:, None, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            hint = crops.hints * model.latent_format.scale_factor
            out = control(x, s * 1000, prompt.pooled, prompt.context, hint=hint)["output"]
        residual = {"output": [o * use for o in out]}
        denoised = model.apply_model(x, s, c_crossattn=prompt.context, y=prompt.pooled, control=residual)
    weight = 1 + config.nerve_weight * crops.nerves[:, None]
    error = ((x - denoised.float()) / column - (e - z)).square()
    return (error * weight / weight.mean()).mean()
