"""Names of other tools, on the host's own models: what is converted does what the host does with the original."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, Convention, read_adapter
from ccm_pack.ccm.adapter.convert import Target, convert
from ccm_pack.ccm.adapter.dialects import read_foreign
from ccm_pack.ccm.adapter.placing import BaseModel, onto_host
from ccm_pack.ccm.adapter.verify import stock_loader, verify
from ccm_pack.ccm.errors import AdapterError
from ccm_pack.cli.adapter import read_base as cli_read_base
from safetensors.torch import save_file
from torch import Tensor

pytestmark = pytest.mark.usefixtures("executor")

META = torch.device("meta")
SPLIT = {  # diffusers names of an SD3: parts of a fused weight, a weight of another row order, whole weights
    "transformer_blocks.0.attn.to_q": (128, 128),
    "transformer_blocks.0.attn.to_k": (128, 128),
    "transformer_blocks.0.attn.to_v": (128, 128),
    "transformer_blocks.1.attn.add_k_proj": (128, 128),
    "transformer_blocks.1.norm1_context.linear": (256, 128),
    "norm_out.linear": (256, 128),
    "transformer_blocks.0.ff.net.0.proj": (512, 128),
}


@pytest.fixture(scope="module")
def base(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    save_file(lab.state(), path)
    return cli_read_base(path)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def write(lab: Any, name: str, magnitude: bool = False, prefix: str = "transformer.") -> Path:
    """Write a LoRA in diffusers names; with magnitudes as LyCORIS trains them, one per output."""
    tensors = {}
    for i, (layer, (rows, columns)) in enumerate(SPLIT.items()):
        tensors[f"{prefix}{layer}.lora_A.weight"] = random(2, columns, seed=i)
        tensors[f"{prefix}{layer}.lora_B.weight"] = 0.02 * random(rows, 2, seed=i + 50)
        if magnitude:
            tensors[f"{prefix}{layer}.dora_scale"] = 0.6 + 0.05 * random(rows, 1, seed=i + 90).abs()
    save_file(tensors, lab.loras / name)
    return lab.loras / name


def test_every_weight_that_the_host_has_is_there_and_can_be_read(lab: Any, base: BaseModel):
    state = lab.state()
    matrices = {
        k.removesuffix(".weight"): v for k, v in state.items() if k.endswith(".weight") and v.dim() > 1
    }
    assert base.shapes == {name: tuple(weight.shape) for name, weight in matrices.items()}
    assert all(torch.equal(base.weight(name), weight) for name, weight in matrices.items())


def test_a_converted_lora_does_what_the_host_does_with_the_original(lab: Any, base: BaseModel):
    path = write(lab, "plain.safetensors")
    convert(read_foreign(path), base, Target.CCM, lab.loras / "converted.safetensors")
    original = lab.put_on(lab.stock(lab.load(), "plain.safetensors"))
    ours = lab.put_on(lab.ours(lab.load(), "converted.safetensors"))
    changed = [name for name in original if not torch.equal(original[name], lab.state()[f"{name}.weight"])]
    assert len(changed) == 5
    for name in changed:
        torch.testing.assert_close(ours[name], original[name], rtol=1e-6, atol=1e-7)


def test_a_dora_of_parts_is_exact_in_the_node_and_in_the_stock_loader(lab: Any, base: BaseModel):
    path = write(lab, "dora.safetensors", magnitude=True)
    foreign = read_foreign(path)
    convert(foreign, base, Target.CCM, lab.loras / "exact.safetensors")
    layers = onto_host(foreign.layers, base)
    weights = {name: base.weight(name) for name in layers}
    for loaded in (lab.ours(lab.load(), "exact.safetensors"), lab.stock(lab.load(), "exact.safetensors")):
        got = lab.put_on(loaded)
        lab.assert_changed_by(got, weights, lambda name: lab.change(weights[name], layers[name]))


def test_parts_are_normalised_by_their_own_rows(lab: Any, base: BaseModel):
    foreign = read_foreign(write(lab, "dora.safetensors", magnitude=True))
    fused = onto_host(foreign.layers, base)["joint_blocks.0.x_block.attn.qkv"]
    weight = base.weight("joint_blocks.0.x_block.attn.qkv")
    k = foreign.layers["transformer.transformer_blocks.0.attn.to_k"]
    expected = lab.change(weight[128:256], k)
    assert lab.relative(lab.change(weight, fused)[128:256], expected) < 1e-6


@pytest.mark.parametrize("name", ["dora", "true-m"])
def test_the_predicted_error_of_the_stock_loader_is_the_one_it_makes(
    lab: Any, base: BaseModel, files: dict, name: str
):
    path = write(lab, "dora.safetensors", magnitude=True) if name == "dora" else lab.loras / files[name]
    foreign = read_foreign(path)
    layers = onto_host(foreign.layers, base)
    predicted = stock_loader(foreign, layers, base)
    weights = lab.put_on(lab.stock(lab.load(), path.name))
    wrong = truth = 0.0
    for module, layer in layers.items():
        change = lab.change(base.weight(module), layer)
        wrong += float((weights[module].double() - base.weight(module) - change).square().sum())
        truth += float(change.square().sum())
    assert predicted.unknown == [] and predicted.error > 0.01
    assert predicted.error == pytest.approx((wrong / truth) ** 0.5, rel=1e-3)


def test_magnitudes_on_the_input_axis_are_exact_in_the_node_and_in_the_stock_loader(
    lab: Any, base: BaseModel
):
    name = "joint_blocks.0.x_block.mlp.fc1"
    tensors = {"lora_down.weight": random(2, 128, seed=1), "lora_up.weight": 0.02 * random(512, 2, seed=2)}
    tensors["dora_scale"] = 1.1 + 0.05 * random(1, 128, seed=3)
    path = lab.loras / "columns.safetensors"
    save_file({f"lora_unet_{name.replace('.', '_')}.{k}": v for k, v in tensors.items()}, path)
    convert(read_foreign(path), base, Target.CCM, lab.loras / "columns_ours.safetensors")
    (layer,) = read_adapter(lab.loras / "columns_ours.safetensors").layers.values()
    assert layer.convention is Convention.INPUT_AXIS
    w0 = base.weight(name).double()
    v = w0 + layer.up.double() @ layer.down.double()
    expected = layer.row_scale.double() * v / v.norm(dim=0) - w0
    for model in (
        lab.ours(lab.load(), "columns_ours.safetensors"),
        lab.stock(lab.load(), "columns_ours.safetensors"),
        lab.stock(lab.load(), "columns.safetensors"),
    ):
        lab.assert_changed_by(lab.put_on(model), {name: w0.float()}, lambda _: expected)
    assert all(finding.passed is not False for finding in verify(read_foreign(path), base))


def test_a_file_that_holds_no_model_is_refused(tmp_path: Path, lab: Any):
    save_file({"x.weight": torch.ones(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(AdapterError, match="does not know the model in x.safetensors"):
        cli_read_base(tmp_path / "x.safetensors")
    with pytest.raises(AdapterError, match="cannot be read"):
        cli_read_base(tmp_path / "missing.safetensors")


def described(state: dict[str, Tensor]) -> BaseModel:
    names = importlib.import_module("ccm_pack.training.host_names")
    return names.describe_base("base", state, None, lambda name: torch.empty(0))


@pytest.fixture(scope="module")
def operations(lab: Any) -> Any:
    return lab.comfy.ops.disable_weight_init


def test_parts_of_a_flux_cover_its_fused_weights(lab: Any, operations: Any):
    flux = importlib.import_module("comfy.ldm.flux.model").Flux
    options = dict(context_in_dim=4096, hidden_size=3072, mlp_ratio=4.0, num_heads=24, depth=1)
    options |= dict(depth_single_blocks=1, axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True)
    options |= dict(in_channels=16, out_channels=16, vec_in_dim=768, guidance_embed=True)
    model = flux(**options, device=META, dtype=torch.float32, operations=operations)
    base = described(model.state_dict())
    single = "transformer.single_transformer_blocks.0"
    rows = [
        base.places[f"{single}.{part}"].rows for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
    ]
    assert torch.equal(torch.cat(rows), torch.arange(base.shapes["single_blocks.0.linear1"][0]))
    swapped = base.places["transformer.norm_out.linear"]
    assert swapped.module == "final_layer.adaLN_modulation.1"
    assert swapped.rows.tolist() == [*range(3072, 6144), *range(3072)]
    assert base.places["lora_unet_double_blocks_0_img_attn_qkv"] == ("double_blocks.0.img_attn.qkv", None)


def test_a_unet_is_known_by_its_own_names_and_by_those_of_diffusers(lab: Any, operations: Any):
    unet = importlib.import_module("comfy.ldm.modules.diffusionmodules.openaimodel").UNetModel
    options = dict(
        image_size=32, in_channels=4, out_channels=4, model_channels=320, num_res_blocks=[2, 2, 2, 2]
    )
    options |= dict(channel_mult=[1, 2, 4, 4], num_heads=8, use_spatial_transformer=True, context_dim=768)
    options |= dict(
        transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0],
        transformer_depth_middle=1,
        use_linear_in_transformer=False,
    )
    options |= dict(transformer_depth_output=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], dtype=torch.float32)
    model = unet(**options, device=META, operations=operations)
    base = described(model.state_dict())
    module = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
    tails = (
        "lora_unet_input_blocks_1_1_",
        "lora_unet_down_blocks_0_attentions_0_",
        "lycoris_down_blocks_0_attentions_0_",
    )
    assert {base.places[f"{tail}transformer_blocks_0_attn1_to_q"].module for tail in tails} == {module}
    layer = AdapterLayer(torch.ones(1, 320), torch.ones(320, 1), 1.0)
    for name in (
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        f"diffusion_model.{module}",
    ):
        assert list(onto_host({name: layer}, base)) == [module]


def test_qwen_image_has_the_same_names_in_diffusers(lab: Any, operations: Any):
    qwen = importlib.import_module("comfy.ldm.qwen_image.model").QwenImageTransformer2DModel
    options = dict(
        num_layers=1, in_channels=64, out_channels=16, num_attention_heads=24, attention_head_dim=128
    )
    options |= dict(
        joint_attention_dim=3584, axes_dims_rope=(16, 56, 56), image_model=None, dtype=torch.float32
    )
    base = described(qwen(**options, device=META, operations=operations).state_dict())
    name = "transformer_blocks.0.attn.to_q"
    assert base.places[f"transformer.{name}"] == base.places[f"diffusion_model.{name}"] == (name, None)
