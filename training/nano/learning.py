"""One optimizer run of a stage: the trainer's own loop, with its checkpoints, for what is no adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config import BaseConfig, CheckpointConfig, DataConfig, OptimizerConfig, RunConfig, TrainConfig
from ..folder import RunFolder
from ..loop import Loop, Problem
from ..processes import join
from ..run import Run

CHECKPOINT_STEPS = 100
DEVICE = "auto"


def device() -> torch.device:
    """The GPU, or the CPU without one."""
    return join(DEVICE).device


@dataclass(frozen=True)
class Course:
    """How a stage is trained: its optimizer, and the folder of its checkpoints."""

    optimizer: OptimizerConfig
    folder: Path
    seed: int


def learn(problem: Problem, course: Course) -> dict[str, Tensor]:
    """Train to the end, or go on with it; returns the parameters by name, averaged where the optimizer says so.

    Raises KeyboardInterrupt where Ctrl-C ended it early, with a checkpoint.
    """
    config = TrainConfig(
        base=BaseConfig(family="nano"),
        data=DataConfig(path=str(course.folder.parent)),
        run=RunConfig(folder=str(course.folder), seed=course.seed),
        optimizer=course.optimizer,
        checkpoint=CheckpointConfig(every=CHECKPOINT_STEPS, keep_last=1),
    )
    folder = RunFolder(course.folder, config.checkpoint.keep_last)
    folder.prepare(config, resume=True)
    run = Run(Loop(problem, config, join(DEVICE)), folder)
    run.resume()
    if not run.finish():
        raise KeyboardInterrupt
    with run.loop.averaged():
        return {name: p.detach().cpu().clone() for name, p in run.loop.parameters.items()}
