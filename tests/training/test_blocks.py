from __future__ import annotations

import pytest
import torch
from ccm_pack.training import blocks
from pretended_device import DEVICE, PretendedDevice
from torch import Tensor, nn

CPU = torch.device("cpu")
WIDTH, DEPTH = 16, 4
FROZEN = 4 * (WIDTH * WIDTH + 2 * WIDTH)  # bytes of a block: weight, bias and shift


class Update(nn.Module):
    """What is trained of a layer, with a buffer that goes with it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(2, WIDTH) / 8)
        self.b = nn.Parameter(torch.randn(WIDTH, 2) / 8)
        self.register_buffer("gain", torch.full((1,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a.T @ self.b.T * self.gain


class Block(nn.Module):
    """A frozen layer with a low-rank update, as an adapter leaves it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.update = Update()
        self.register_buffer("shift", torch.randn(WIDTH))
        self.calls = 0

    def forward(self, x: Tensor, *, scale: float) -> Tensor:
        self.calls += 1
        return torch.tanh(self.linear(x) + self.update(x) + self.shift) * scale


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.register_buffer("offset", torch.randn(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, scale=0.9)
        return self.head(x) + self.offset


def gradients(
    checkpointing: bool, offloaded: int, device: torch.device = CPU
) -> tuple[Tensor, list[Tensor], Network]:
    network = Network()
    found = blocks.find_blocks(network, r"blocks\.\d+")
    last = found[max(0, DEPTH - offloaded) :]
    blocks.place(network, device, last)
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    with blocks.lean(found if checkpointing else [], last, device):
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


def test_frozen_weights_of_offloaded_blocks_are_on_the_device_one_block_at_a_time():
    plain, network = gradients(False, 0), Network()
    everything = sum(t.nbytes for t in (*network.parameters(), *network.buffers()))
    for offloaded in (0, 1, 3, 4):
        with PretendedDevice() as device:
            lean = gradients(False, offloaded, DEVICE)
        assert device.peak == everything - FROZEN * max(0, offloaded - 1)
        assert torch.equal(plain[0], lean[0])
        assert all(torch.equal(a, b) for a, b in zip(plain[1], lean[1], strict=True))


def test_what_is_trained_is_on_the_device_and_what_is_frozen_in_an_offloaded_block_is_not():
    with PretendedDevice() as device:
        network = gradients(True, 1, DEVICE)[2]
        last = network.blocks[-1]
        frozen = {id(tensor) for tensor in (last.linear.weight, last.linear.bias, last.shift)}
        for tensor in (*network.parameters(), *network.buffers()):
            assert device.holds(tensor) == (id(tensor) not in frozen)


def test_blocks_are_found_by_their_whole_names():
    network = Network()
    assert blocks.find_blocks(network, r"blocks\.[12]") == [network.blocks[1], network.blocks[2]]
