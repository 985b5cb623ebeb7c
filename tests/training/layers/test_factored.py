"""The factored layers against the definition, against PEFT's own, and against the base they start from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

pytest.importorskip("peft", minversion="0.20")

import peft
from ccm_pack.ccm.adapter import base_from_peft, layers_from_peft
from ccm_pack.ccm.adapter.dora import NORM_FLOOR, merged
from ccm_pack.ccm.errors import AdapterError
from ccm_pack.training.layers import AdapterConfig, Injected, factored, inject

TARGETS = "linear|bare|conv|strided"
TOKENS = torch.linspace(-1, 2, 2 * 5 * 24).sin().reshape(2, 5, 24)
PIXELS = torch.linspace(-1, 2, 2 * 4 * 6 * 8).cos().reshape(2, 4, 6, 8)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 16)
        self.bare = nn.Linear(24, 32, bias=False)
        self.conv = nn.Conv2d(4, 6, 3, padding=1)
        self.strided = nn.Conv2d(4, 8, 2, stride=2, bias=False)

    def outputs(self, tokens: Tensor, pixels: Tensor) -> list[Tensor]:
        return [self.linear(tokens), self.bare(tokens), self.conv(pixels), self.strided(pixels)]


def make_net(dtype: torch.dtype = torch.float32) -> Net:
    torch.manual_seed(0)
    return Net().to(dtype)


def trained(net: Net, **config: object) -> Injected:
    """Inject an adapter, and change all of it."""
    adapter = inject(net, AdapterConfig(targets=TARGETS, **{"rank": 4, "alpha": 6.0, **config}), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapter.trainable:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    adapter.refresh()
    return adapter


def distance(got: Tensor, true: Tensor) -> float:
    return ((got - true).norm() / true.norm()).item()


def gradients(net: Net, adapter: Injected) -> list[Tensor]:
    """Gradients of a nonlinear loss in the inputs and in the adapter."""
    inputs = [TOKENS.clone().requires_grad_(), PIXELS.clone().requires_grad_()]
    torch.stack([y.sin().sum() for y in net.outputs(*inputs)]).sum().backward()
    return [leaf.grad for leaf in (*inputs, *adapter.trainable)]


def test_the_output_of_a_layer_with_numbers_from_hand():
    # W = [[3, 0], [0, 0]], sBA = [[0, 4], [1, 0]]: the norms of the rows of V are 5 and 1
    net = nn.ModuleDict({"layer": nn.Linear(2, 2)})
    net["layer"].weight.data = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    net["layer"].bias.data = torch.tensor([7.0, 8.0])
    adapter = inject(net, AdapterConfig(rank=2, alpha=4.0, targets="layer"), seed=0)
    down, up, magnitude = adapter.trainable
    down.data = torch.eye(2)
    up.data = torch.tensor([[0.0, 2.0], [0.5, 0.0]])
    magnitude.data = torch.tensor([10.0, 3.0])
    adapter.refresh()
    # row 1: 10 / 5 * (3 * 1 + 4 * 2) + 7; row 2: 3 / 1 * (1 * 1) + 8
    assert net["layer"](torch.tensor([[1.0, 2.0]])).tolist() == [[29.0, 11.0]]


def test_the_factored_norm_is_the_norm_of_the_merged_weight():
    net = make_net()
    weights = {name: weight.clone() for name, weight in make_net().named_parameters()}
    adapter = trained(net)
    for name, layer in layers_from_peft(net).items():
        plain = layer._replace(row_scale=None)
        true = merged(weights[f"{name}.weight"], plain).flatten(1).norm(dim=1)
        assert distance(factored.row_norm(adapter.layers[name], "default"), true) < 1e-6


def test_outputs_and_gradients_are_those_of_peft_in_fp32():
    ours, theirs = make_net(), make_net()
    one, other = trained(ours), trained(theirs, norm="peft")
    for got, true in zip(ours.outputs(TOKENS, PIXELS), theirs.outputs(TOKENS, PIXELS), strict=True):
        assert distance(got, true) < 1e-6
    for got, true in zip(gradients(ours, one), gradients(theirs, other), strict=True):
        assert distance(got, true) < 1e-6


def test_outputs_are_those_of_the_exported_weights():
    net = make_net()
    trained(net)
    layers, base = layers_from_peft(net), base_from_peft(net)
    plain = make_net()
    for name, layer in layers.items():
        plain.get_submodule(name).weight.data = merged(base[name], layer)
    for got, true in zip(net.outputs(TOKENS, PIXELS), plain.outputs(TOKENS, PIXELS), strict=True):
        assert distance(got, true) < 1e-6


@pytest.mark.parametrize("norm", ["factored", "peft"])
@pytest.mark.parametrize("method", ["wdlora", "lora", "rslora"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_new_adapter_changes_no_bit(dtype: torch.dtype, method: str, norm: str):
    net = make_net(dtype)
    inputs = TOKENS.to(dtype), PIXELS.to(dtype)
    before = net.outputs(*inputs)
    inject(net, AdapterConfig(method=method, rank=4, targets=TARGETS, norm=norm), seed=0)
    for got, true in zip(net.outputs(*inputs), before, strict=True):
        assert got.dtype is true.dtype and torch.equal(got, true)


def test_a_new_adapter_changes_no_bit_under_autocast():
    net = make_net()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = net.outputs(TOKENS, PIXELS)
        inject(net, AdapterConfig(rank=4, targets=TARGETS), seed=0)
        assert all(torch.equal(a, b) for a, b in zip(net.outputs(TOKENS, PIXELS), before, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_on_a_narrow_base_the_adapter_is_in_fp32_and_the_error_is_that_of_rounding(dtype: torch.dtype):
    net, wide = make_net(dtype), make_net()
    wide.load_state_dict({name: value.float() for name, value in net.state_dict().items()})
    adapter = trained(net)
    exact = inject(wide, AdapterConfig(rank=4, alpha=6.0, targets=TARGETS), seed=1)
    exact.load_state(adapter.state())
    assert {p.dtype for p in adapter.trainable} == {torch.float32}
    inputs = TOKENS.to(dtype), PIXELS.to(dtype)
    true = wide.outputs(*(x.float() for x in inputs))
    eps = torch.finfo(dtype).eps
    assert max(distance(a.float(), b) for a, b in zip(net.outputs(*inputs), true, strict=True)) < eps


def test_under_autocast_gradients_are_fp32_and_near_those_without():
    net, plain = make_net(), make_net()
    adapter, other = trained(net), trained(plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients(net, adapter)
    assert {g.dtype for g in got} == {torch.float32}
    assert max(distance(a, b) for a, b in zip(got, gradients(plain, other), strict=True)) < 0.03


def test_rows_of_zeros_start_exact_stay_finite_and_learn_as_the_export_does():
    net = make_net()
    with torch.no_grad():
        net.linear.weight[3] = 0
        net.conv.weight[2] = 0
    before = net.outputs(TOKENS, PIXELS)
    adapter = inject(net, AdapterConfig(rank=4, targets=TARGETS), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(net.outputs(TOKENS, PIXELS), before, strict=True))
    assert adapter.layers["linear"].lora_magnitude_vector["default"].weight[3] == NORM_FLOOR
    optimizer = torch.optim.AdamW(adapter.trainable, lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        assert all(torch.isfinite(g).all() for g in gradients(net, adapter))
        optimizer.step()
        adapter.refresh()
    y = net.linear(TOKENS)
    weight = merged(base_from_peft(net)["linear"], layers_from_peft(net)["linear"])
    assert distance(y, nn.functional.linear(TOKENS, weight, net.linear.get_base_layer().bias)) < 1e-6
    assert torch.isfinite(weight).all() and not torch.equal(y[..., 3], before[0][..., 3])


def test_the_norm_stays_until_refresh():
    net = make_net()
    adapter = trained(net)
    layer = adapter.layers["linear"]
    before = net.linear(TOKENS)
    norm = layer.lora_magnitude_vector["default"].norm
    with torch.no_grad():
        layer.lora_B["default"].weight.mul_(1.5)
    stale = net.linear(TOKENS)
    assert layer.lora_magnitude_vector["default"].norm is norm and not torch.equal(stale, before)
    adapter.refresh()
    weight = merged(base_from_peft(net)["linear"], layers_from_peft(net)["linear"])
    true = nn.functional.linear(TOKENS, weight, layer.get_base_layer().bias)
    assert distance(net.linear(TOKENS), true) < 1e-6 < distance(stale, true)


def test_a_step_computes_the_norm_once_with_checkpointing_and_accumulation(monkeypatch: pytest.MonkeyPatch):
    calls = []
    compute = factored.row_norm
    net = make_net()
    adapter = trained(net)
    monkeypatch.setattr(factored, "row_norm", lambda *a: calls.append(1) or compute(*a))
    for _step in range(2):
        for _micro in range(3):
            x = TOKENS.clone().requires_grad_()
            checkpoint(net.linear, x, use_reentrant=False).sum().backward()
        adapter.refresh()
    assert len(calls) == 2


def test_checkpointing_changes_no_bit_of_the_gradients():
    def run(recompute: bool) -> list[Tensor]:
        net = make_net()
        adapter = trained(net)
        x = TOKENS.clone().requires_grad_()
        y = checkpoint(net.linear, x, use_reentrant=False) if recompute else net.linear(x)
        y.sin().sum().backward()
        return [x.grad, *(p.grad for p in adapter.trainable[:3])]

    assert all(torch.equal(a, b) for a, b in zip(run(True), run(False), strict=True))


def test_an_input_without_gradient_trains_too():
    net = make_net()
    adapter = trained(net)
    net.linear(TOKENS).sum().backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in adapter.trainable[:3])


@pytest.mark.parametrize("method", ["wdlora", "lora", "rslora"])
def test_the_state_reloads_in_stock_peft_and_gives_the_same_output(method: str):
    net = make_net()
    trained(net, method=method)
    saved = peft.get_peft_model_state_dict(net, adapter_name="default")
    stock = make_net()
    options = {"use_dora": method == "wdlora", "use_rslora": method == "rslora"}
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, **options)
    peft.inject_adapter_in_model(config, stock)
    loaded = peft.set_peft_model_state_dict(stock, saved)
    assert not loaded.unexpected_keys
    for got, true in zip(net.outputs(TOKENS, PIXELS), stock.outputs(TOKENS, PIXELS), strict=True):
        assert distance(got, true) < 1e-6


def test_merging_is_refused_where_peft_would_merge_nothing():
    net = make_net()
    trained(net)
    with pytest.raises(AdapterError, match="does not merge"):
        net.linear.merge()
