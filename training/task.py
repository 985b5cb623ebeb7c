"""The problem that the loop solves in a real run: an adapter in a base model, on prepared samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import objective
from .bases import Base
from .blocks import find_blocks, lean, place
from .config import MemoryConfig, ObjectiveConfig, TrainConfig
from .data.sampler import Sampler
from .export import export
from .layers import Injected, inject
from .prepare import Prepared

LAST = "adapter.safetensors"


@dataclass(frozen=True)
class Task:
    """Implements `loop.Problem`."""

    base: Base
    injected: Injected
    prepared: Prepared
    sampler: Sampler
    config: ObjectiveConfig
    device: torch.device
    files: tuple[str, str] = (LAST, "adapter_best.safetensors")

    @property
    def layers(self) -> dict[str, Any]:
        """What is trained, by module name: modules with a `weight`."""
        return {name: layer.get_base_layer() for name, layer in self.injected.layers.items()}

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {name: p for name, p in self.base.network.named_parameters() if p.requires_grad}

    def losses(self, positions: range) -> Tensor:
        batch = self.prepared.batch([self.sampler.sample(k) for k in positions])
        return objective.loss(self.base, batch.to(self.device), self.config)

    def refresh(self) -> None:
        self.injected.refresh()

    def export(self, path: Path, description: Mapping[str, Any], step: int) -> None:
        """Write the adapter; `description` is that of `export.describe_run`."""
        export(path, self.base.network, description, step)


@contextmanager
def adapted(
    base: Base, prepared: Prepared, sampler: Sampler, config: TrainConfig, device: torch.device
) -> Iterator[Task]:
    """Within it, the base is on the device with a new adapter, and saves memory as the configuration says."""
    adapter = replace(config.adapter, targets=config.adapter.targets or base.targets)
    blocks = _place(base, config.memory, device)
    with inject(base.network, adapter, config.run.seed) as injected, lean(*blocks, device):
        yield Task(base, injected, prepared, sampler, config.objective, device)


@contextmanager
def bare(base: Base, memory: MemoryConfig, device: torch.device) -> Iterator[None]:
    """Within it, the base is on the device without an adapter, and saves memory as the configuration says."""
    with lean(*_place(base, memory, device), device):
        yield


def _place(base: Base, memory: MemoryConfig, device: torch.device) -> tuple[list[nn.Module], list[nn.Module]]:
    """Move the base to the device; return the blocks to compute twice, and those that stay in main memory."""
    blocks = find_blocks(base.network, base.blocks)
    offloaded = blocks[max(0, len(blocks) - memory.offload_blocks) :]
    place(base.model, device, offloaded)
    return blocks if memory.checkpointing else [], offloaded
