"""What the paper compares its adapter with: models that know nothing but the training patients.

gan: a generator that is normalised by the mask in every block, against a patch discriminator. scratch: the
diffusion model of the embedded family with fresh weights. Both see the samples of the adapter arms, as often.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import TrainConfig
from ..folder import RunFolder
from ..loop import Loop, Problem
from ..run import Run
from ..trainer import Setup
from ..validate import Paint, Validation

GAN, SCRATCH = "gan", "scratch"
OPTIMIZERS: dict[str, dict[str, Any]] = {  # assumed: usual values, not searched for
    GAN: {
        "learning_rate": 4e-4,
        "betas": (0.5, 0.99),
        "schedule": "constant",
        "ema_decay": 0.995,
        "clip_norm": 0.0,
    },
    SCRATCH: {"learning_rate": 1e-3, "betas": (0.9, 0.98), "schedule": "cosine", "ema_decay": 0.99},
}


@dataclass(frozen=True)
class Rival:
    """What is trained, and what draws held-out frames; without `paint`, the base does."""

    problem: Problem
    paint: Paint | None = None


def with_optimizer(config: TrainConfig, name: str) -> TrainConfig:
    """Return the configuration with the optimizer that suits the rival; steps and samples stay."""
    return replace(config, optimizer=replace(config.optimizer, **OPTIMIZERS[name]))


def train_rival(name: str, setup: Setup) -> bool:
    """Train one rival, or go on with it; returns False where Ctrl-C ended it early, with a checkpoint."""
    config = setup.config
    folder = RunFolder(Path(config.run.folder), config.checkpoint.keep_last)
    folder.prepare(config, resume=True)
    validation = Validation(setup, setup.splits.validation, folder.samples)
    with _maker(name)(setup, validation) as rival:
        validation.paint = rival.paint or validation.paint
        run = Run(Loop(rival.problem, config, setup.processes), folder, validation)
        run.resume()
        return run.finish()


def _maker(name: str) -> Callable[[Setup, Validation], AbstractContextManager[Rival]]:
    if name == GAN:
        from .gan import rival
    else:
        from .scratch import rival
    return rival
