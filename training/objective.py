"""What a sample costs: the host's own training objective, whatever the parameterisation of the base.

A base predicts an output v that the host turns into clean latents, z_hat = a(s) x - c(s) v. The loss is the
squared error of v, which needs no case for epsilon (Ho et al. 2020, arXiv 2006.11239), v (Salimans and Ho 2022,
arXiv 2202.00512) or velocity (Lipman et al. 2023, arXiv 2210.02747):

    v - v* = (z - z_hat) / c(s),   with c(s) read off the host's own conversion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..ccm.errors import TrainingError

if TYPE_CHECKING:
    from .bases import Base
    from .config import ObjectiveConfig
    from .prepare import Batch


def loss(base: Base, batch: Batch, config: ObjectiveConfig) -> Tensor:
    """Return the loss of each sample [B], fp32.

    A sample's noise and noise level come from its own seed, and its weights add up to one within it, so that
    splitting a batch changes no sample. Run it in an autocast context to compute in bf16.
    """
    model, batch = base.model, batch.to(base.device)
    z = model.process_latent_in(batch.latents.float())
    draws = [_draw(int(seed), z.shape[1:], config) for seed in batch.noise_seeds]
    e = torch.stack([noise for noise, _ in draws]).to(z.device)
    sigma = torch.stack([host_sigma(model, level) for _, level in draws]).to(z.device)
    x = model.model_sampling.noise_scaling(_column(sigma, z), e, z)
    error = (z - base.denoised(x, sigma, batch.condition).float()).square()  # of z_hat, [B,C,...,h,w]
    error = error * _spatial(batch.nerves, config.nerve_weight, z)
    return error.flatten(1).mean(1) * _level_weight(model, sigma, config)


def _draw(seed: int, shape: torch.Size, config: ObjectiveConfig) -> tuple[Tensor, Tensor]:
    """Return the noise and the noise level in 0..1 of one sample; 1 is noise alone."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator)
    if config.noise_level == "logit-normal":  # Esser et al. 2024, arXiv 2403.03206, section 3.1
        return noise, torch.sigmoid(config.mean + config.std * torch.randn((), generator=generator))
    u = torch.rand((), generator=generator)
    if config.noise_level == "shifted":  # the same, section 5.3.2
        u = config.shift * u / (1 + (config.shift - 1) * u)
    return noise, u


def host_sigma(model: Any, level: Tensor) -> Tensor:
    """Return the sigma that the host's sampler has where this share of its noise schedule is still to come."""
    sampling = model.model_sampling
    sigma = torch.tensor(float(sampling.percent_to_sigma(1.0 - float(level))))
    return sigma.clamp(float(sampling.sigma_min), float(sampling.sigma_max))


def _level_weight(model: Any, sigma: Tensor, config: ObjectiveConfig) -> Tensor:
    """Turn errors of z_hat [B] into errors of the output: 1 / c^2, or min(SNR, gamma) with min-SNR weighting.

    Hang et al. 2023, arXiv 2303.09556: weights min(SNR, gamma) / SNR for epsilon and min(SNR, gamma) / (SNR + 1)
    for v, which on the error of z_hat are one and the same. Raises TrainingError on a flow model.
    """
    sampling = model.model_sampling
    if not config.min_snr_gamma:
        return _output_scale(sampling, sigma) ** -2
    if is_flow(model):
        raise TrainingError(
            "[objective] min_snr_gamma is for epsilon and v models, and this base predicts a velocity",
            fix="leave min_snr_gamma out; noise_level weighs the noise levels of a flow model",
        )
    return ((sampling.sigma_data / sigma) ** 2).clamp(max=config.min_snr_gamma)


def _output_scale(sampling: Any, sigma: Tensor) -> Tensor:
    """Return c(s): what an output of one takes off the clean latents."""
    one = torch.ones_like(sigma)
    return sampling.calculate_denoised(sigma, one, torch.zeros_like(one)).abs()


def is_flow(model: Any) -> bool:
    """Tell whether the base predicts the velocity of a straight path between latents and noise."""
    from comfy.model_sampling import CONST

    return isinstance(model.model_sampling, CONST)


def _spatial(nerves: Tensor, weight: float, like: Tensor) -> Tensor:
    """Return weights 1 + weight * nerves of mean one in each sample, [B,1,...,h,w] for latents like these."""
    weights = 1 + weight * nerves.float()
    weights = weights / weights.mean((-2, -1), keepdim=True)
    return weights.reshape(len(weights), *[1] * (like.dim() - 3), *weights.shape[-2:])


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 1))
