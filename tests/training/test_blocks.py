from __future__ import annotations

import gc
import weakref

import pytest
import torch
from ccm_pack.training import blocks
from torch import nn

CPU = torch.device("cpu")


class Block(nn.Module):
    """A frozen layer with a low-rank update, as an adapter leaves it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width).requires_grad_(False)
        self.a = nn.Parameter(torch.randn(2, width) / 8)
        self.b = nn.Parameter(torch.randn(width, 2) / 8)
        self.register_buffer("shift", torch.randn(width))
        self.calls = 0

    def forward(self, x: torch.Tensor, *, scale: float) -> torch.Tensor:
        self.calls += 1
        return torch.tanh(self.linear(x) + x @ self.a.T @ self.b.T + self.shift) * scale


class Network(nn.Module):
    def __init__(self, depth: int = 4, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.head = nn.Linear(width, width).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x, scale=0.9)
        return self.head(x)


def gradients(checkpointing: bool, offloaded: int) -> tuple[torch.Tensor, list[torch.Tensor], Network]:
    network = Network()
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    with blocks.lean(blocks.find_blocks(network, r"blocks\.\d+"), checkpointing, offloaded, CPU):
        loss = network(x).square().mean()
        loss.backward()
    return loss.detach(), [p.grad for p in network.parameters() if p.requires_grad], network


@pytest.mark.parametrize(("checkpointing", "offloaded"), [(True, 0), (False, 2), (True, 3), (True, 99)])
def test_lean_blocks_give_the_same_bits(checkpointing, offloaded):
    plain, lean = gradients(False, 0), gradients(checkpointing, offloaded)
    assert torch.equal(plain[0], lean[0])
    assert all(torch.equal(a, b) for a, b in zip(plain[1], lean[1], strict=True))


def test_only_checkpointed_and_offloaded_blocks_are_computed_twice():
    assert [block.calls for block in gradients(False, 0)[2].blocks] == [1, 1, 1, 1]
    assert [block.calls for block in gradients(True, 0)[2].blocks] == [2, 2, 2, 2]
    assert [block.calls for block in gradients(False, 1)[2].blocks] == [1, 1, 1, 2]


def test_afterwards_the_network_is_as_it_was():
    network = gradients(True, 2)[2]
    assert all("forward" not in block.__dict__ for block in network.blocks)
    assert all(isinstance(block.linear.weight, nn.Parameter) for block in network.blocks)


def test_an_offloaded_block_holds_copies_only_while_it_computes(monkeypatch):
    alive: list[weakref.ref] = []
    original = blocks.functional_call

    def watched(module, tensors, *rest):
        gc.collect()
        assert not [ref for ref in alive if ref() is not None]  # of the blocks before it
        alive.extend(weakref.ref(t) for t in tensors.values())
        return original(module, tensors, *rest)

    monkeypatch.setattr(blocks, "functional_call", watched)
    network = Network()
    with blocks.lean(list(network.blocks), False, 4, CPU):
        network(torch.randn(3, 16)).sum()
    assert len(alive) == 4 * 3  # weight, bias and buffer of four blocks


def test_blocks_are_found_by_their_whole_names():
    network = Network()
    assert blocks.find_blocks(network, r"blocks\.[12]") == [network.blocks[1], network.blocks[2]]
