"""Several processes that train one adapter, as `accelerate launch` starts them.

Every process holds the whole model and computes its share of each step's samples; the gradients are added up.
So the result is that of one process, up to the order of a sum.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process's place among all of them, and its device."""

    device: torch.device
    index: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this one writes files and reports."""
        return self.index == 0

    def share(self, positions: range) -> range:
        """This process's consecutive part of a step's positions; the parts differ by one sample at most."""
        n = len(positions)
        return positions[n * self.index // self.count : n * (self.index + 1) // self.count]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, which gets the same bits everywhere."""
        if self.count == 1:
            return
        flat = torch.cat([t.detach().reshape(-1) for t in tensors])
        torch.distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        count = torch.tensor(float(flag), device=self.device)
        self.add_up([count])
        return bool(count > 0)

    def smallest(self, value: int) -> int:
        """The smallest of the values that the processes give."""
        if self.count == 1:
            return value
        box = torch.tensor(value, device=self.device)
        torch.distributed.all_reduce(box, torch.distributed.ReduceOp.MIN)
        return int(box)

    def from_main(self, value: Any) -> Any:
        """Return the main process's value."""
        if self.count == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box)
        return box[0]

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            torch.distributed.barrier()


def join(device: str) -> Processes:
    """Return this process's place; the device "auto" is the GPU of that number, and the CPU without one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        return Processes(torch.device(chosen))
    from accelerate import PartialState

    atexit.register(_leave)  # threads of a group that is still there at the very end abort the process
    state: Any = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    return Processes(torch.device(state.device), state.process_index, state.num_processes)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 numbers in hardware; a CPU that imitates it takes a hundred times as long."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    able = getattr(torch.cpu, "get_capabilities", dict)()  # an older PyTorch does not tell
    return any(able.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
