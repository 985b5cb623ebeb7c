"""The problem that the loop solves in a real run: an adapter in a base model, on prepared samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from . import objective
from .bases import Base
from .blocks import find_blocks, lean
from .config import ObjectiveConfig, TrainConfig
from .data.sampler import Sampler
from .layers import Injected, inject
from .prepare import Prepared


@dataclass(frozen=True)
class Task:
    """Implements `loop.Problem`."""

    base: Base
    injected: Injected
    prepared: Prepared
    sampler: Sampler
    config: ObjectiveConfig
    device: torch.device

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {name: p for name, p in self.base.network.named_parameters() if p.requires_grad}

    def losses(self, positions: range) -> Tensor:
        batch = self.prepared.batch([self.sampler.sample(k) for k in positions])
        return objective.loss(self.base, batch.to(self.device), self.config)

    def refresh(self) -> None:
        self.injected.refresh()


@contextmanager
def adapted(
    base: Base, prepared: Prepared, sampler: Sampler, config: TrainConfig, device: torch.device
) -> Iterator[Task]:
    """Within it, the base holds a new adapter, and its blocks save memory as the configuration says."""
    targets = config.adapter.targets or base.targets
    memory = config.memory
    with (
        inject(base.network, replace(config.adapter, targets=targets), config.run.seed) as injected,
        lean(find_blocks(base.network, base.blocks), memory.checkpointing, memory.offload_blocks, device),
    ):
        yield Task(base, injected, prepared, sampler, config.objective, device)
