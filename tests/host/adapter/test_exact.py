"""The adapter in the real host is exact: whole models against PEFT, single weights against the formula."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ccm_pack.ccm.adapter import Convention, save_adapter

pytestmark = pytest.mark.usefixtures("executor")

CPU = torch.device("cpu")
QKV = "joint_blocks.0.x_block.attn.qkv"
CONV = "x_embedder.proj"
DORA_KINDS = ["corrected", "true-m"]


@pytest.mark.parametrize("kind", DORA_KINDS)
def test_the_node_gives_the_output_of_the_peft_model(lab: Any, dora: Any, files: dict, kind: str):
    model = lab.ours(lab.load(), files[kind])
    lab.put_on(model)
    lab.assert_output(model, dora.output)
    assert lab.relative(lab.output(model), lab.output(lab.load())) > 0.01  # the adapter does something


def test_the_node_gives_the_output_of_the_peft_model_for_a_plain_lora(lab: Any, lora: Any, files: dict):
    model = lab.ours(lab.load(), files["lora"])
    lab.put_on(model)
    lab.assert_output(model, lora.output)


def test_the_stock_loader_gives_the_output_of_the_peft_model(lab: Any, dora: Any, files: dict):
    model = lab.stock(lab.load(), files[lab.stock_convention().value])
    lab.put_on(model)
    lab.assert_output(model, dora.output)


@pytest.mark.parametrize("strength", [1.0, 0.4, -0.7])
def test_the_stock_loader_gives_the_base_plus_k_times_the_change(
    lab: Any, dora: Any, files: dict, strength: float
):
    weights = lab.put_on(lab.stock(lab.load(), files[lab.stock_convention().value], strength))
    lab.assert_changed_by(weights, dora.base, lambda n: strength * lab.change(dora.base[n], dora.layers[n]))


@pytest.mark.parametrize("kind", [*DORA_KINDS, "lora"])
def test_the_stock_loader_knows_every_key(lab: Any, files: dict, kind: str, caplog: pytest.LogCaptureFixture):
    lab.stock(lab.load(), files[kind])
    assert "not loaded" not in caplog.text.lower()


def test_the_low_memory_path_gives_the_output_of_the_peft_model(lab: Any, dora: Any, files: dict):
    model = lab.ours(lab.load(), files["corrected"])
    model.patch_model(CPU, lowvram_model_memory=1)
    assert model.model.model_lowvram
    lab.assert_output(model, dora.output)
    model.detach()


def test_a_partial_unload_keeps_the_output(lab: Any, dora: Any, files: dict):
    model = lab.ours(lab.load(), files["corrected"])
    lab.put_on(model)
    model.partially_unload(CPU, memory_to_free=model.model_size() // 2)
    assert model.model.model_lowvram
    lab.assert_output(model, dora.output)


@pytest.mark.parametrize("strength", [1.0, 0.4, -0.7, 0.0, 2.5])
@pytest.mark.parametrize("kind", DORA_KINDS)
def test_weights_are_the_base_plus_k_times_the_change(
    lab: Any, dora: Any, files: dict, kind: str, strength: float
):
    weights = lab.put_on(lab.ours(lab.load(), files[kind], strength))
    if strength == 0:
        assert all(torch.equal(weights[name], dora.base[name]) for name in dora.base)
    else:
        lab.assert_changed_by(
            weights, dora.base, lambda n: strength * lab.change(dora.base[n], dora.layers[n])
        )


@pytest.mark.parametrize("order", ["stock first", "stock last", "stock on both sides"])
@pytest.mark.parametrize("kind", DORA_KINDS)
def test_a_stock_lora_adds_and_leaves_the_adapter_exact(
    lab: Any, dora: Any, lora: Any, files: dict, kind: str, order: str
):
    model, times = lab.load(), 0
    if order != "stock last":
        model, times = lab.stock(model, files["lora"], 0.6), times + 1
    model = lab.ours(model, files[kind], 0.8)
    if order != "stock first":
        model, times = lab.stock(model, files["lora"], 0.6), times + 1

    def expected(name: str) -> torch.Tensor:
        base = dora.base[name]
        return times * 0.6 * lab.change(base, lora.layers[name]) + 0.8 * lab.change(base, dora.layers[name])

    lab.assert_changed_by(lab.put_on(model), dora.base, expected)


def test_a_stock_lora_adds_on_the_low_memory_path_too(lab: Any, dora: Any, lora: Any, files: dict):
    model = lab.ours(lab.stock(lab.load(), files["lora"], 0.6), files["corrected"], 0.8)
    model.patch_model(CPU, lowvram_model_memory=1)
    low_memory = lab.output(model)
    model.detach()
    lab.put_on(model)
    assert lab.relative(low_memory, lab.output(model)) <= 1e-5


def test_the_stock_loader_is_off_where_it_divides_by_another_norm(
    lab: Any, dora: Any, lora: Any, files: dict
):
    if lab.stock_convention() is Convention.TRUE_M:
        pytest.skip("this host divides by the right norm")
    model = lab.stock(lab.load(), files["true-m"])
    lab.put_on(model)
    error, effect = (lab.relative(lab.output(one), dora.output) for one in (model, lab.load()))
    weights = lab.put_on(lab.stock(lab.stock(lab.load(), files["lora"], 0.6), files["corrected"]))
    both = max(
        lab.relative(
            weights[name].double() - base,
            0.6 * lab.change(base, lora.layers[name]) + lab.change(base, dora.layers[name]),
        )
        for name, base in dora.base.items()
    )
    print(f"a true-m file: output {error:.1e}, {error / effect:.0%} of what the adapter does")
    print(f"a stock LoRA before a corrected file: weights {both:.1e} of the change")
    assert error > 1e-3 and both > 1e-2


def test_two_adapters_of_ours_both_start_from_the_base(lab: Any, dora: Any, lora: Any, files: dict):
    model = lab.ours(lab.load(), files["corrected"], 0.5)
    model = lab.stock(model, files["lora"], 0.6)
    model = lab.ours(model, files["true-m"], -0.2)
    model = lab.ours(model, files["lora"], 0.1)

    def expected(name: str) -> torch.Tensor:
        base = dora.base[name]
        return 0.3 * lab.change(base, dora.layers[name]) + 0.7 * lab.change(base, lora.layers[name])

    lab.assert_changed_by(lab.put_on(model), dora.base, expected)


def test_a_model_merge_before_the_adapter_is_its_base(lab: Any, dora: Any, files: dict):
    other = lab.state(seed=9)
    model = lab.ours(lab.merge(lab.load(), lab.load(state=other), 0.75), files["true-m"])
    base = {name: 0.75 * w + 0.25 * other[f"{name}.weight"] for name, w in dora.base.items()}
    lab.assert_changed_by(lab.put_on(model), base, lambda n: lab.change(base[n], dora.layers[n]))


def test_a_model_merge_after_the_adapter_merges_the_adapted_model(lab: Any, dora: Any, files: dict):
    other = lab.state(seed=9)
    model = lab.merge(lab.ours(lab.load(), files["true-m"]), lab.load(state=other), 0.75)
    base = {name: 0.75 * w + 0.25 * other[f"{name}.weight"] for name, w in dora.base.items()}
    lab.assert_changed_by(lab.put_on(model), base, lambda n: 0.75 * lab.change(dora.base[n], dora.layers[n]))


def test_an_adapted_model_merged_into_another_brings_its_adapter(lab: Any, dora: Any, files: dict):
    other = lab.state(seed=9)
    model = lab.merge(lab.load(state=other), lab.ours(lab.load(), files["corrected"]), 0.75)
    base = {name: 0.25 * w + 0.75 * other[f"{name}.weight"] for name, w in dora.base.items()}
    lab.assert_changed_by(lab.put_on(model), base, lambda n: 0.25 * lab.change(dora.base[n], dora.layers[n]))


def test_a_convolution_is_among_the_adapted_layers(dora: Any):
    assert dora.layers[CONV].down.dim() == 4 and dora.layers[CONV].row_scale is not None


@pytest.mark.parametrize("loader", ["ours", "stock"])
@pytest.mark.parametrize("name", [QKV, CONV])
def test_zero_rows_of_the_base_are_exact(lab: Any, dora: Any, name: str, loader: str):
    """Row 3 of the base and of the product is zero, row 5 of the base only."""
    state = lab.state()
    base = state[f"{name}.weight"]
    base[[3, 5]] = 0
    layer = dora.layers[name]
    up, magnitude = layer.up.clone(), layer.row_scale.clone()
    up[3], magnitude[3] = 0, 0
    layer = layer._replace(up=up, row_scale=magnitude)
    save_adapter(
        lab.loras / "zero.safetensors", {name: layer}, {name: base}, convention=lab.stock_convention()
    )
    weight = lab.put_on(getattr(lab, loader)(lab.load(state=state), "zero.safetensors"))[name]
    assert weight[3].abs().max() == 0
    others = [i for i in range(len(base)) if i != 3]
    assert lab.relative(weight[others].double() - base[others], lab.change(base, layer)[others]) <= 1e-5
    assert lab.relative(weight[5], lab.change(base, layer)[5]) <= 1e-5
