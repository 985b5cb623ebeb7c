"""A problem of a few thousand parameters for the loop, in place of a base model with an adapter."""

from __future__ import annotations

from pathlib import Path

import torch
from ccm_pack.training import config as c
from ccm_pack.training.folder import RunFolder
from ccm_pack.training.loop import Loop
from ccm_pack.training.processes import Processes
from ccm_pack.training.run import Run
from torch import Tensor, nn

CPU = Processes(torch.device("cpu"))


class SmallProblem:
    """Two layers learn a fixed linear map; sample k is a function of k. Memory for `room` samples at a time."""

    def __init__(self, room: int | None = None, width: int = 32) -> None:
        generator = torch.Generator().manual_seed(0)
        self.width, self.room, self.refreshed = width, room, 0
        self.target = torch.randn(width, width, generator=generator)
        self.parameters = {
            name: nn.Parameter(torch.randn(shape, generator=generator) / 8)
            for name, shape in (("a", (128, width)), ("b", (width, 128)))
        }
        self.seen: list[int] = []

    def losses(self, positions: range) -> Tensor:
        self.seen += positions
        x = torch.cat([self._sample(k) for k in positions])
        y = torch.tanh(x @ self.parameters["a"].T) @ self.parameters["b"].T
        if self.room is not None and len(positions) > self.room:
            y.sum().backward()  # leaves a gradient of this micro-batch behind, as real ones do
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more.")
        return (y.float() - x @ self.target.T).square().mean(1)

    def refresh(self) -> None:
        self.refreshed += 1

    def _sample(self, k: int) -> Tensor:
        return torch.randn(1, self.width, generator=torch.Generator().manual_seed(k))


def small_config(folder: Path | str = "run", **tables: dict) -> c.TrainConfig:
    given = {
        "base": {"family": "nano"},
        "data": {"path": "data"},
        "run": {"folder": str(folder), "device": "cpu"},
        "optimizer": {"steps": 12, "batch": 2, "accumulation": 2, "learning_rate": 1e-2, "warmup_steps": 3},
        "memory": {"autocast": "off"},
        "checkpoint": {"every": 3, "keep_last": 2},
    }
    return c.parse_config(
        {name: {**given.get(name, {}), **tables.get(name, {})} for name in {**given, **tables}}
    )


def small_run(
    config: c.TrainConfig, *, resume: bool = False, validate=None, problem=None, processes: Processes = CPU
) -> Run:
    folder = RunFolder(Path(config.run.folder), config.checkpoint.keep_last)
    if processes.is_main:
        folder.prepare(config, resume)
    run = Run(Loop(problem or SmallProblem(), config, processes), folder, validate)
    if resume:
        run.resume()
    return run


def final_hash(config: c.TrainConfig) -> str:
    """The hash of adapter, optimizer and average in the newest checkpoint."""
    import hashlib

    folder = Path(config.run.folder) / "checkpoints"
    newest = sorted(folder.glob("step_*"))[-1]
    return hashlib.sha256((newest / "state.safetensors").read_bytes()).hexdigest()
