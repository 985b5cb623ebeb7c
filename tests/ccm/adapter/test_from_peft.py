"""Parity with PEFT: the layers read out of an injected model merge to what PEFT computes."""

from __future__ import annotations

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, Convention, base_from_peft, layers_from_peft
from ccm_pack.ccm.adapter.dora import merged
from ccm_pack.ccm.errors import AdapterError
from torch import nn

peft = pytest.importorskip("peft")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 8)
        self.conv = nn.Conv2d(2, 6, 3, padding=1)
        self.words = nn.Embedding(5, 4)

    def forward(self, x: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.linear(x).flatten(), self.conv(image).flatten()])


INPUTS = (torch.linspace(-1, 1, 36).reshape(3, 12), torch.linspace(-1, 1, 50).reshape(1, 2, 5, 5))


def injected(**options: object) -> tuple[Net, dict[str, torch.Tensor]]:
    """Return a net with a random adapter, and its state without one."""
    torch.manual_seed(0)
    net = Net()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    options = {"r": 3, "lora_alpha": 6, "target_modules": ["linear", "conv"], **options}
    peft.inject_adapter_in_model(peft.LoraConfig(**options), net)
    for name, parameter in net.named_parameters():
        if "lora_" in name:
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    return net.eval(), state


def merged_net(state: dict[str, torch.Tensor], layers: dict[str, AdapterLayer]) -> Net:
    weights = {f"{name}.weight": merged(state[f"{name}.weight"], layer) for name, layer in layers.items()}
    net = Net()
    net.load_state_dict({**state, **weights})
    return net


@pytest.mark.parametrize("use_dora", [True, False])
@pytest.mark.parametrize("use_rslora", [True, False])
def test_the_merged_net_computes_what_peft_computes(use_dora: bool, use_rslora: bool):
    net, state = injected(use_dora=use_dora, use_rslora=use_rslora)
    layers = layers_from_peft(net)
    with torch.no_grad():
        expected, got = net(*INPUTS), merged_net(state, layers)(*INPUTS)
    assert (got - expected).norm() / expected.norm() < 1e-6
    assert {layer.convention for layer in layers.values()} == {
        Convention.TRUE_M if use_dora else Convention.LORA
    }


def test_the_scale_is_alpha_over_the_root_of_the_rank_with_rslora():
    net, _ = injected(r=4, lora_alpha=6, use_rslora=True)
    assert layers_from_peft(net)["linear"].scale == 3.0


def test_magnitudes_are_one_dimensional_for_convolutions_too():
    net, _ = injected(use_dora=True)
    assert layers_from_peft(net)["conv"].row_scale.shape == (6,)


def test_base_weights_are_those_before_injection():
    net, state = injected(use_dora=True)
    base = base_from_peft(net)
    assert base.keys() == {"linear", "conv"}
    assert all(torch.equal(weight, state[f"{name}.weight"]) for name, weight in base.items())


def test_layers_are_copies_that_further_training_does_not_change():
    net, _ = injected()
    before = layers_from_peft(net)["linear"].down.clone()
    copy = layers_from_peft(net)["linear"].down
    net.linear.lora_A["default"].weight.data.add_(1)
    assert torch.equal(copy, before)


@pytest.mark.parametrize("wrap", ["diffusion_model", "peft_model"])
def test_wrappers_do_not_show_in_the_names(wrap: str):
    net, _ = injected()
    if wrap == "diffusion_model":
        outer: nn.Module = nn.ModuleDict({"diffusion_model": net})
    else:
        config = peft.LoraConfig(r=3, target_modules=["linear", "conv"])
        outer = peft.get_peft_model(Net(), config)
    assert layers_from_peft(outer).keys() == {"linear", "conv"}


def test_an_adapter_in_bf16_is_returned_in_fp32():
    net, _ = injected(use_dora=True)
    assert layers_from_peft(net.bfloat16())["linear"].row_scale.dtype is torch.float32


def test_a_model_without_the_adapter_is_refused():
    net, _ = injected()
    with pytest.raises(AdapterError, match="no PEFT adapter named 'other'"):
        layers_from_peft(net, "other")


def test_a_merged_adapter_is_refused():
    net, _ = injected()
    net.linear.merge()
    with pytest.raises(AdapterError, match="linear is merged"):
        layers_from_peft(net)


def test_what_the_file_cannot_hold_is_refused():
    with pytest.raises(AdapterError, match="embedding words is adapted"):
        layers_from_peft(injected(target_modules=["linear", "words"])[0])
    with pytest.raises(AdapterError, match="LoRA bias"):
        layers_from_peft(injected(lora_bias=True)[0])
