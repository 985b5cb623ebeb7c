"""A device that is not there: what is sent to it stays on the CPU, and its bytes are counted."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")  # of no other use here, and PyTorch always has it


class PretendedDevice(TorchDispatchMode):
    """Within it, what is moved to `DEVICE` is copied on the CPU; `peak` is that of the bytes of these copies."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.peak = 0

    def holds(self, tensor: Tensor) -> bool:
        """Whether the tensor has been moved to the device."""
        return tensor.untyped_storage()._cdata in self._sizes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("device") == DEVICE:
            return self._counted(args[0].clone())
        return func(*args, **kwargs)

    def _counted(self, copy: Tensor) -> Tensor:
        storage = copy.untyped_storage()
        self._sizes[storage._cdata] = storage.nbytes()
        self.peak = max(self.peak, sum(self._sizes.values()))
        weakref.finalize(storage, self._sizes.pop, storage._cdata).atexit = False
        return copy
