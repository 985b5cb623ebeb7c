"""The adapters on the host's own layers, with weights in every format that it keeps them in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("peft", minversion="0.20")
pytest.importorskip("comfy.ops", reason="needs the host's modules on the path (COMFYUI_PATH)")

from ccm_pack.ccm.adapter import base_from_peft
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.layers import AdapterConfig, inject
from comfy import ops

OUT, IN = 24, 40
FP8 = torch.float8_e4m3fn


def matrix() -> Tensor:
    return torch.randn(OUT, IN, generator=torch.Generator().manual_seed(0)) / 6


def bias() -> Tensor:
    return torch.linspace(-1, 1, OUT)


def tokens(dtype: torch.dtype) -> Tensor:
    return torch.linspace(-1, 2, 3 * 5 * IN).sin().reshape(3, 5, IN).to(dtype).requires_grad_()


def stored(kind: type, weight: Tensor) -> tuple[nn.Module, Tensor]:
    """A network with one layer of that kind, and the weight that the layer stands for."""
    network = nn.Module()
    network.layer = kind(IN, OUT, dtype=weight.dtype)
    network.layer.weight.data, network.layer.bias.data = weight, bias()
    return network, weight.float()


def plain_fp32() -> tuple[nn.Module, Tensor]:
    return stored(ops.disable_weight_init.Linear, matrix())


def cast_fp8() -> tuple[nn.Module, Tensor]:
    return stored(ops.manual_cast.Linear, matrix().to(FP8))


def cast_bf16() -> tuple[nn.Module, Tensor]:
    return stored(ops.manual_cast.Linear, matrix().bfloat16())


def scaled_fp8() -> tuple[nn.Module, Tensor]:
    scale = matrix().abs().amax() / 448
    network, weight = stored(ops.scaled_fp8_ops().Linear, (matrix() / scale).to(FP8))
    network.layer.scale_weight.data = scale
    return network, weight * scale


def mixed(full_precision: bool, compute: torch.dtype, with_bias: bool) -> tuple[nn.Module, Tensor]:
    scale = matrix().abs().amax() / 448
    kind = ops.mixed_precision_ops({"layer": {"format": "float8_e4m3fn"}}, compute, full_precision)
    network = nn.Module()
    network.layer = kind.Linear(IN, OUT, bias=with_bias)
    weight = (matrix() / scale).to(FP8)
    state = {"layer.weight": weight.clone(), "layer.weight_scale": scale}
    network.load_state_dict(state | ({"layer.bias": bias().to(compute)} if with_bias else {}))
    return network, weight.to(compute).mul_(scale).float()


def mixed_fp8() -> tuple[nn.Module, Tensor]:
    return mixed(True, torch.float32, True)


def mixed_fp8_without_bias() -> tuple[nn.Module, Tensor]:
    return mixed(False, torch.float32, False)


def mixed_fp8_in_bf16() -> tuple[nn.Module, Tensor]:
    return mixed(True, torch.bfloat16, True)


EXACT = [plain_fp32, cast_fp8, cast_bf16, scaled_fp8, mixed_fp8, mixed_fp8_without_bias]
CONFIG = AdapterConfig(rank=4, alpha=6.0, targets="layer")


def twin(weight: Tensor, network: nn.Module) -> nn.Module:
    """The same layer in plain fp32."""
    made = nn.ModuleDict({"layer": nn.Linear(IN, OUT, bias=network.layer.bias is not None)})
    made["layer"].weight.data = weight.clone()
    if network.layer.bias is not None:
        made["layer"].bias.data = network.layer.bias.detach().float().clone()
    return made


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        *((make, torch.float32) for make in EXACT),
        *((make, torch.bfloat16) for make in (cast_fp8, cast_bf16, scaled_fp8, mixed_fp8_in_bf16)),
    ],
)
def test_a_new_adapter_changes_no_bit(make, dtype: torch.dtype):
    network, _ = make()
    x = tokens(dtype)
    before = network.layer(x)
    with inject(network, CONFIG, seed=0) as adapter:
        assert torch.equal(network.layer(x), before)
        assert {p.dtype for p in adapter.trainable} == {torch.float32}


@pytest.mark.parametrize("make", EXACT)
def test_outputs_and_gradients_are_those_of_the_weight_in_fp32(make):
    network, weight = make()
    plain = twin(weight, network)
    with inject(network, CONFIG, seed=0) as one, inject(plain, CONFIG, seed=0) as other:
        with torch.no_grad():
            for p in one.trainable:
                p.add_(0.1 * torch.linspace(-1, 1, p.numel()).cos().view(p.shape))
        other.load_state(one.state())
        one.refresh()
        results = []
        for net, adapter in ((network, one), (plain, other)):
            x = tokens(torch.float32)
            y = net.get_submodule("layer")(x)
            y.sin().sum().backward()
            results.append([y, x.grad, *(p.grad for p in adapter.trainable)])
        for got, true in zip(*results, strict=True):
            assert (got - true).norm() / true.norm() < 1e-6


@pytest.mark.parametrize("make", EXACT)
def test_the_export_reads_the_weight_that_the_layer_stands_for(make):
    network, weight = make()
    with inject(network, CONFIG, seed=0):
        assert torch.equal(base_from_peft(network)["layer"].float(), weight)


def test_a_layer_that_computes_in_bf16_errs_by_its_rounding_only():
    network, weight = mixed_fp8_in_bf16()
    with inject(network, CONFIG, seed=0) as adapter:
        m = adapter.trainable[2]
        assert (m - weight.norm(dim=1)).abs().max() / m.max() < 1e-6
        with torch.no_grad():
            adapter.trainable[1].fill_(0.1)
        adapter.refresh()
        y = network.layer(tokens(torch.bfloat16))
        y.sum().backward()
        assert y.dtype is torch.bfloat16 and all(p.grad is not None for p in adapter.trainable)


def test_the_hosts_convolutions_in_fp8_are_adapted_too():
    network = nn.Module()
    network.layer = ops.manual_cast.Conv2d(3, 8, 3, padding=1, dtype=FP8)
    weight = torch.linspace(-1, 1, 8 * 27).reshape(8, 3, 3, 3).to(FP8)
    network.layer.weight.data, network.layer.bias.data = weight, torch.linspace(-1, 1, 8)
    x = torch.linspace(-1, 1, 2 * 3 * 25).reshape(2, 3, 5, 5)
    before = network.layer(x)
    with inject(network, CONFIG, seed=0) as adapter:
        assert torch.equal(network.layer(x), before)
        true = weight.float().flatten(1).norm(dim=1)
        assert (adapter.trainable[2].flatten() - true).abs().max() < 1e-6


def test_pefts_own_norm_is_refused_on_fp8():
    network, _ = cast_fp8()
    with pytest.raises(TrainingError, match="float8_e4m3fn"):
        inject(network, AdapterConfig(rank=4, targets="layer", norm="peft"), seed=0)
