"""Blocks that are computed twice or kept in main memory give the same gradients, on the host's own models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ccm_pack.training import objective
from ccm_pack.training.blocks import find_blocks, lean, place
from ccm_pack.training.config import AdapterConfig
from ccm_pack.training.layers import inject

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))
from pretended_device import DEVICE, PretendedDevice  # noqa: E402

FAMILIES = ["nano", "sd15", "sdxl", "sd35", "qwen-image", "qwen-image-edit", "flux"]


def gradients(base: Any, batch: Any, config: Any, twice: list[Any]) -> dict[str, torch.Tensor]:
    with lean(twice, [], base.device):
        objective.loss(base, batch, config).mean().backward()
    parameters = {n: p for n, p in base.network.named_parameters() if p.grad is not None}
    found = {n: p.grad for n, p in parameters.items()}
    for p in parameters.values():
        p.grad = None
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_computing_blocks_twice_changes_no_bit_of_a_gradient_within_them(
    families: Any, objective_config: Any, family: str
):
    """Before them, it changes the order of a sum, and no more.

    The embedded base's `y_embedder` is adapted, and every block reads what it gives twice: once for the picture
    and once for the context. Its gradient adds up those of all uses one by one, ((1 + 2) + 3) + 4. A block that
    is computed twice adds up its own first, (1 + 2) + (3 + 4), which differs by rounding.
    """
    base = families.base(family)
    batch, blocks = families.batch(base), find_blocks(base.network, base.blocks)
    with inject(base.network, AdapterConfig(targets=base.targets, rank=2), seed=0):
        once, twice = (gradients(base, batch, objective_config, chosen) for chosen in ([], blocks))
    assert len(once) > len(blocks) and once.keys() == twice.keys()
    before = {name for name in once if name.startswith("y_embedder.")}
    assert bool(before) == (family == "nano")
    for name in once.keys() - before:
        assert torch.equal(once[name], twice[name])
    for name in before:
        assert (once[name] - twice[name]).abs().max() <= 1e-6 * once[name].abs().max()


def size(module: Any) -> int:
    """Bytes of parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


@pytest.mark.parametrize("family", ["nano", "sd15", "flux"])
def test_offloaded_blocks_are_on_the_device_one_at_a_time_and_change_no_gradient(
    families: Any, objective_config: Any, family: str
):
    base = families.load(family)
    batch, blocks = families.batch(base), find_blocks(base.network, base.blocks)
    frozen = [size(block) for block in blocks]
    peaks, found = [], []
    for offloaded in ([], blocks):
        with PretendedDevice() as device:
            place(base.model, DEVICE, offloaded)
            with inject(base.network, AdapterConfig(targets=base.targets, rank=2), seed=0):
                trained = sum(map(size, blocks)) - sum(
                    frozen
                )  # pretended to be there only if it is moved there
                with lean(blocks, offloaded, DEVICE):
                    objective.loss(base, batch, objective_config).mean().backward()
                found.append([p.grad for p in base.network.parameters() if p.grad is not None])
        peaks.append(device.peak)
    assert peaks[0] - peaks[1] == sum(frozen) - max(frozen) - trained
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
