"""Less memory for time: the blocks of a network computed twice, their frozen weights kept in main memory.

Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174) keeps a block's inputs only and computes it again
in the backward pass. An offloaded block fetches its frozen weights for each of the two computations, and
lets them go after it; what is trained in it stays on the device. Both change no number.

First `place`, then put the adapter in, then `lean`: so an adapter starts where its layer is, and the weights of
an offloaded block are never on the device all at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


def find_blocks(network: nn.Module, names: str) -> list[nn.Module]:
    """The modules whose whole name matches the regular expression, in the network's order."""
    return [module for name, module in network.named_modules() if re.fullmatch(names, name)]


def place(model: nn.Module, device: torch.device, offloaded: Collection[nn.Module]) -> None:
    """Move a model to the device, and the offloaded ones of its modules to main memory."""
    if model in offloaded:
        model.to("cpu")
    elif not any(module in offloaded for module in model.modules()):
        model.to(device)
    else:
        for tensor in (*model.parameters(recurse=False), *model.buffers(recurse=False)):
            tensor.data = tensor.data.to(device)
        for child in model.children():
            place(child, device, offloaded)


@contextmanager
def lean(
    checkpointed: Sequence[nn.Module], offloaded: Sequence[nn.Module], device: torch.device
) -> Iterator[None]:
    """Within it, both kinds of blocks are computed twice, and offloaded ones fetch their frozen weights.

    What is trained goes to the device and stays there. Names and hooks of modules do not change.
    """
    wrapped = dict.fromkeys((*checkpointed, *offloaded))
    try:
        for block in offloaded:
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
    """Return a forward that works on copies of the block's frozen tensors on the device."""
    body = _Body(block)
    frozen = dict(_frozen(body, device))
    if device.type == "cuda":
        for tensor in frozen.values():
            tensor.data = tensor.data.pin_memory()

    def forward(*args: Any, **kwargs: Any) -> Any:
        here = {name: t.detach().to(device, copy=True, non_blocking=True) for name, t in frozen.items()}
        return functional_call(body, here, args, kwargs)

    return forward


def _frozen(body: nn.Module, device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Move the modules that are trained to the device, buffers included; yield the tensors of the others."""
    for prefix, module in body.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        if any(tensor.requires_grad for _, tensor in own):
            module.to(device)
        else:
            yield from ((f"{prefix}.{name}", tensor) for name, tensor in own)
