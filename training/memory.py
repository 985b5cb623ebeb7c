"""How much memory a training needs, measured on its first steps before the run.

The peak is, on the CPU, that of the bytes of all live tensors, each storage counted once; on a GPU that of
`torch.cuda.max_memory_allocated`. What libraries allocate inside one operation is not in the former.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .config import TrainConfig
from .loop import Loop, Problem
from .processes import Processes


class Meter:
    """The peak that `peak_memory` measured, in bytes."""

    peak = 0


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Meter]:
    """Measure the peak of live memory on the device within the context, with what is live already."""
    meter = Meter()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield meter
        torch.cuda.synchronize(device)
        meter.peak = torch.cuda.max_memory_allocated(device)
        return
    with _LiveBytes() as live:
        yield meter
    meter.peak = live.peak


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages from the operation that returns them until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[int] = set()
        self._bytes = self.peak = 0

    def __enter__(self) -> _LiveBytes:
        gc.collect()
        for thing in gc.get_objects():
            if issubclass(type(thing), Tensor):
                self._add(thing)
        super().__enter__()
        return self

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or not size:
            return
        self._known.add(key)
        self._bytes += size
        self.peak = max(self.peak, self._bytes)
        weakref.finalize(storage, self._remove, key, size).atexit = False

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._bytes -= size


STEPS, MICRO_BATCHES = 3, 2  # of a prediction


@dataclass(frozen=True)
class Prediction:
    """Bytes: the peak of a whole run, and what is live in it at all times."""

    peak: int
    resident: int


def predict_peak(problem: Problem, config: TrainConfig, processes: Processes) -> Prediction:
    """Predict the peak of live memory of a run from a few of its steps; they train the adapter.

    The first step makes the moments of the optimizer. Two steps are measured, since samples without mask or of
    other prompt lengths are computed apart; two micro-batches of each show what accumulation adds.
    """
    accumulation = min(MICRO_BATCHES, config.optimizer.accumulation)
    probe = replace(config, optimizer=replace(config.optimizer, accumulation=accumulation))
    loop = Loop(problem, probe, processes)
    loop.advance()
    with peak_memory(processes.device) as resident:
        pass
    with peak_memory(processes.device) as meter:
        for _ in range(STEPS - 1):
            loop.advance()
    return Prediction(meter.peak, resident.peak)


def probed(config: TrainConfig) -> int:
    """How many samples `predict_peak` computes with."""
    return STEPS * config.optimizer.batch * min(MICRO_BATCHES, config.optimizer.accumulation)
