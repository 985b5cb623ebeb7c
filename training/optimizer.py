"""The optimizer, the course of its learning rate, and what a checkpoint keeps of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..ccm.errors import TrainingError
from .config import OptimizerConfig


class Rate(NamedTuple):
    """Learning rate and first beta of one step."""

    learning_rate: float
    beta: float


def rate(step: int, config: OptimizerConfig) -> Rate:
    """The rate of step 0, 1, ...; a pure function, so that a resumed run needs no schedule state.

    constant and cosine rise in a straight line over the warm-up; cosine then falls to zero. one-cycle (Smith
    and Topin 2018, arXiv 1708.07120; as in `torch.optim.lr_scheduler.OneCycleLR`) rises from 1/25 by half a
    cosine and falls to 1/250000, while the first beta falls from 0.95 to 0.85 and rises again.
    """
    peak, warmup, steps = config.learning_rate, config.warmup_steps, config.steps
    if config.schedule == "one-cycle":
        turn, end = warmup - 1, steps - 1
        if step <= turn:
            part = step / max(1, turn)
            return Rate(_bend(peak / 25, peak, part), _bend(0.95, 0.85, part))
        part = (step - turn) / max(1, end - turn)
        return Rate(_bend(peak, peak / 25e4, part), _bend(0.85, 0.95, part))
    if step < warmup:
        return Rate(peak * (step + 1) / warmup, config.betas[0])
    if config.schedule == "constant":
        return Rate(peak, config.betas[0])
    return Rate(_bend(peak, 0.0, (step - warmup) / max(1, steps - warmup)), config.betas[0])


def _bend(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(1.0, part)))


def make_optimizer(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), with moments of 32 or of 8 bits."""
    settings: Any = {
        "lr": config.learning_rate,
        "betas": (config.betas[0], config.betas[1]),
        "weight_decay": config.weight_decay,
    }
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, **settings)
    try:
        from bitsandbytes.optim import AdamW8bit  # pyright: ignore[reportPrivateImportUsage]
    except ImportError as error:
        raise TrainingError(
            f'optimizer.name is "adamw8bit", and bitsandbytes cannot be imported ({error})',
            fix='run `pip install bitsandbytes` in ComfyUI\'s Python, or use "adamw"',
        ) from error
    return AdamW8bit(parameters, **settings)


def set_rate(optimizer: torch.optim.Optimizer, new: Rate) -> None:
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = new.learning_rate, (new.beta, group["betas"][1])


def optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Tensors and plain numbers of the optimizer by "parameter/name", nothing left out."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state[parameter].items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{name}/{key}"] = value
    return tensors, numbers


def load_optimizer_state(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, float],
) -> None:
    """Put back what `optimizer_state` returned."""
    optimizer.state.clear()
    for full, value in [*tensors.items(), *numbers.items()]:
        name, _, key = full.rpartition("/")
        parameter = parameters[name]
        if isinstance(value, Tensor) and key != "step":  # AdamW counts its steps on the CPU
            value = value.to(parameter.device, copy=True)
        optimizer.state[parameter][key] = value
