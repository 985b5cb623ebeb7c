"""An adapter goes in, is saved and loaded, and comes out; what cannot be adapted is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("peft", minversion="0.20")

from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.layers import AdapterConfig, inject


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Module()
    network.blocks = nn.ModuleList([Block(), Block()])
    network.words = nn.Embedding(4, 8)
    network.grouped = nn.Conv2d(4, 4, 3, groups=2)
    network.dilated = nn.Conv2d(4, 4, 3, dilation=2)
    network.narrow = nn.Linear(8, 2)
    return network


QKV = AdapterConfig(rank=4, targets=r"blocks\..*\.qkv")


def test_the_adapted_modules_are_those_whose_whole_name_matches():
    with inject(make_network(), QKV, seed=0) as adapter:
        assert adapter.names == ["blocks.0.qkv", "blocks.1.qkv"]


@pytest.mark.parametrize(("method", "per_layer"), [("wdlora", 3), ("lora", 2), ("rslora", 2)])
def test_only_the_adapter_is_trainable(method: str, per_layer: int):
    network = make_network()
    with inject(network, AdapterConfig(method=method, rank=4, targets=QKV.targets), seed=0) as adapter:
        assert len(adapter.trainable) == 2 * per_layer
        assert sum(p.requires_grad for p in network.parameters()) == 2 * per_layer


@pytest.mark.parametrize(("method", "scale"), [("wdlora", 1.5), ("lora", 1.5), ("rslora", 3.0)])
def test_the_scale_is_alpha_over_the_rank_and_over_its_root_for_rslora(method: str, scale: float):
    config = AdapterConfig(method=method, rank=4, alpha=6.0, targets=".*proj")
    with inject(make_network(), config, seed=0) as adapter:
        assert {layer.scaling["default"] for layer in adapter.layers.values()} == {scale}


def test_the_seed_alone_decides_where_an_adapter_starts():
    def start(seed: int) -> dict[str, torch.Tensor]:
        torch.seed()
        with inject(make_network(), QKV, seed) as adapter:
            return adapter.state()

    one, same, other = start(1), start(1), start(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(
        one["blocks.0.qkv.lora_A.default.weight"], other["blocks.0.qkv.lora_A.default.weight"]
    )


def test_injecting_leaves_the_global_generator_alone():
    network = make_network()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with inject(network, QKV, seed=9):
        assert torch.equal(torch.rand(4), expected)


def test_the_network_is_as_it_was_after_an_error():
    network = make_network()
    modules = dict(network.named_modules())
    with pytest.raises(ZeroDivisionError), inject(network, QKV, seed=0):
        raise ZeroDivisionError
    assert dict(network.named_modules()) == modules
    assert vars(network).keys() == vars(make_network()).keys()


def test_an_adapter_can_be_injected_again_after_it_was_ejected():
    network = make_network()
    for _ in range(2):
        with inject(network, QKV, seed=0) as adapter:
            assert len(adapter.names) == 2


def test_a_second_ejection_does_nothing():
    network = make_network()
    adapter = inject(network, QKV, seed=0)
    adapter.eject()
    adapter.eject()
    assert isinstance(network.get_submodule("blocks.0.qkv"), nn.Linear)


def test_a_state_is_a_copy_and_loads_to_the_same_output():
    network, x = make_network(), torch.ones(2, 8)
    layer = "blocks.0.qkv"
    with inject(network, QKV, seed=0) as adapter:
        with torch.no_grad():
            for p in adapter.trainable:
                p.add_(0.1)
        adapter.refresh()
        state, expected = adapter.state(), network.get_submodule(layer)(x)
        with torch.no_grad():
            for p in adapter.trainable:
                p.add_(0.1)
        adapter.load_state(state)
        assert torch.equal(network.get_submodule(layer)(x), expected)


@pytest.mark.parametrize("rank", [2, 4])
def test_a_state_of_another_adapter_is_refused(rank: int):
    with inject(make_network(), AdapterConfig(rank=rank, targets=".*proj"), seed=0) as other:
        state = other.state()
    with inject(make_network(), QKV, seed=0) as adapter, pytest.raises(TrainingError, match="differs"):
        adapter.load_state(state)


def test_targets_that_match_nothing_are_refused_with_the_nearest_names():
    with pytest.raises(TrainingError, match=r"matches no module.*blocks\.0\.qkv"):
        inject(make_network(), AdapterConfig(targets=r"block\..*\.qkv"), seed=0)


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ("words", "a Embedding"),
        ("blocks.0.norm", "a LayerNorm"),
        ("grouped", "groups, dilation or padding"),
        ("dilated", "groups, dilation or padding"),
        ("narrow", "narrow has rank 2 at most"),
    ],
)
def test_what_cannot_be_adapted_is_refused_by_name(targets: str, told: str):
    network = make_network()
    with pytest.raises(TrainingError, match=told):
        inject(network, AdapterConfig(rank=4, targets=targets), seed=0)
    assert all(p.requires_grad for p in network.parameters())


def test_targets_that_are_no_regular_expression_are_refused():
    with pytest.raises(TrainingError, match="no regular expression"):
        inject(make_network(), AdapterConfig(targets="blocks.("), seed=0)
