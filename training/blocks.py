"""Less memory for time: the blocks of a network computed twice, their frozen weights kept in main memory.

Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174) keeps a block's inputs only and computes it again
in the backward pass. An offloaded block fetches its frozen weights for each of the two computations, and
lets them go after it. Both change no number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


def find_blocks(network: nn.Module, names: str) -> list[nn.Module]:
    """The modules whose whole name matches the regular expression, in the network's order."""
    return [module for name, module in network.named_modules() if re.fullmatch(names, name)]


@contextmanager
def lean(
    blocks: Sequence[nn.Module], checkpointing: bool, offloaded: int, device: torch.device
) -> Iterator[None]:
    """Within it, blocks are checkpointed, and the last `offloaded` ones fetch their frozen weights.

    The weights of offloaded blocks stay in main memory afterwards. Names and hooks of modules do not change.
    """
    fetching = blocks[max(0, len(blocks) - offloaded) :]
    wrapped = blocks if checkpointing else fetching
    try:
        for block in fetching:
            block.forward = _fetching(block, device)
        for block in wrapped:
            block.forward = _twice(block.forward)
        yield
    finally:
        for block in wrapped:
            block.__dict__.pop("forward", None)


def _twice(body: Callable[..., Any]) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        # Frozen networks in evaluation mode draw no random numbers, so none are kept for the second time.
        return checkpoint(on_copies, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    def on_copies(*args: Any, **kwargs: Any) -> Any:
        # Some blocks of the host add to their inputs in place, and the second time needs them as they were.
        return body(*map(_copy, args), **{name: _copy(value) for name, value in kwargs.items()})

    return forward


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


class _Body(nn.Module):
    """A block under a name of its own, so that `functional_call` runs the block's own forward."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.compute = block.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compute(*args, **kwargs)


def _fetching(block: nn.Module, device: torch.device) -> Callable[..., Any]:
    """Move the block's frozen weights to main memory; return a forward that works on copies on the device."""
    body = _Body(block)
    kept = {name: p for name, p in body.named_parameters() if not p.requires_grad} | dict(
        body.named_buffers()
    )
    for tensor in kept.values():
        stored = tensor.detach().to("cpu")
        tensor.data = stored.pin_memory() if device.type == "cuda" else stored

    def forward(*args: Any, **kwargs: Any) -> Any:
        here = {name: t.detach().to(device, copy=True, non_blocking=True) for name, t in kept.items()}
        return functional_call(body, here, args, kwargs)

    return forward
