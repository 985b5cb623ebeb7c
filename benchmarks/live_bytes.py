"""How many bytes of tensors a piece of work allocates at its peak, over what was there before."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Run `work` and return the peak, as the allocator of the device saw it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler tells of every stage it enters
    profiler: Any = torch.autograd.profiler.profile(profile_memory=True)
    with profiler:
        work()
    events = [e for e in profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most
