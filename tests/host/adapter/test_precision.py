"""Bases of low precision lose nothing but what the host's own rounding costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ccm_pack.ccm.errors import AdapterMismatchError

sys.path.insert(0, str(Path(__file__).parent))
import byte_layers  # noqa: E402

pytestmark = pytest.mark.usefixtures("executor")

CPU = torch.device("cpu")
LOW_PRECISION = [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
@pytest.mark.parametrize("kind", ["corrected", "true-m"])
def test_a_low_precision_base_loses_only_the_rounding_of_the_host(
    lab: Any, dora: Any, files: dict, kind: str, dtype: torch.dtype
):
    weights = lab.put_on(lab.ours(lab.load(dtype), files[kind]))
    for name in dora.base:
        base = dora.base[name].to(dtype)
        exact = base.double() + lab.change(base, dora.layers[name])
        rounding = lab.relative(lab.rounded(name, exact, dtype), exact)
        assert weights[name].dtype == dtype
        assert lab.relative(weights[name], exact) <= 1.1 * rounding, name


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["corrected", "true-m"])
def test_the_low_memory_path_loses_only_the_rounding_of_the_compute_dtype(
    lab: Any, dora: Any, files: dict, kind: str, dtype: torch.dtype, compute: torch.dtype
):
    model = lab.ours(lab.load(dtype), files[kind])
    model.patch_model(CPU, lowvram_model_memory=1)
    for name in dora.base:
        module = model.model.diffusion_model.get_submodule(name)
        weight, _ = lab.comfy.ops.cast_bias_weight(module, dtype=compute, device=CPU, bias_dtype=compute)
        base = dora.base[name].to(dtype).to(compute)  # the host casts before it patches
        exact = base.double() + lab.change(base, dora.layers[name])
        rounding = max(lab.relative(exact.to(compute), exact), 1e-6)
        assert weight.dtype == compute
        assert lab.relative(weight, exact) <= 1.1 * rounding, name
    model.detach()


def test_a_scaled_fp8_base_loses_only_the_rounding_of_the_host(lab: Any, dora: Any, files: dict):
    state, names = lab.state(), [name for name in dora.base if dora.base[name].dim() == 2]
    base = {}
    for key in [k for k in state if k.endswith(".weight") and state[k].dim() == 2]:
        scale = state[key].abs().max() / torch.finfo(torch.float8_e4m3fn).max
        state[key] = (state[key] / scale).to(torch.float8_e4m3fn)
        state[key.replace(".weight", ".scale_weight")] = scale
        base[key.removesuffix(".weight")] = state[key].float() * scale
    state["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    model = lab.ours(lab.load(None, state), files["corrected"])
    lab.put_on(model)
    for name in names:
        module = model.model.diffusion_model.get_submodule(name)
        exact = base[name].double() + lab.change(base[name], dora.layers[name])
        ours = module.convert_weight(module.weight.float())
        module.set_weight(exact.float(), seed=1)
        rounding = lab.relative(module.convert_weight(module.weight.float()), exact)
        assert lab.relative(ours, exact) <= 1.1 * rounding, name


def load_bytes(lab: Any) -> Any:
    """Return a MODEL whose linear weights are stored as bytes in blocks, as GGUF loaders do."""
    names = [k for k, v in lab.state().items() if k.endswith(".weight") and v.dim() == 2]
    state = {k: byte_layers.ByteTensor.of(v) if k in names else v for k, v in lab.state().items()}
    options = {"custom_operations": byte_layers.operations(), "dtype": torch.float32}
    return byte_layers.patcher(lab.comfy.sd.load_diffusion_model_state_dict(state, model_options=options))


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["corrected", "true-m"])
def test_a_base_of_bytes_in_blocks_loses_only_the_rounding_of_the_compute_dtype(
    lab: Any, dora: Any, files: dict, kind: str, compute: torch.dtype
):
    model = load_bytes(lab)
    info = lab.node.execute(model, files[kind], 1.0)
    assert "base: the one it was trained on (a cast of it" in info.result[1]
    lab.comfy.model_management.load_models_gpu([info.result[0]])
    for name in [name for name in dora.base if dora.base[name].dim() == 2]:
        module = model.model.diffusion_model.get_submodule(name)
        base = module.weight.weight(compute)  # the loader casts before it patches
        exact = base.double() + lab.change(base, dora.layers[name])
        rounding = max(lab.relative(exact.to(compute), exact), 1e-6)
        assert lab.relative(module.get_weight(module.weight, compute), exact) <= 1.1 * rounding, name


def test_a_base_of_numbers_that_nobody_can_read_is_refused(lab: Any, files: dict):
    model = lab.load()
    name = "joint_blocks.0.x_block.attn.qkv"
    module = model.model.diffusion_model.get_submodule(name)
    module.weight = torch.nn.Parameter(
        torch.zeros(module.weight.shape, dtype=torch.int8), requires_grad=False
    )
    with pytest.raises(AdapterMismatchError, match=f"{name} is stored as torch.int8.*bf16, fp16 or fp8"):
        lab.ours(model, files["corrected"])


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
def test_info_says_that_a_cast_is_the_same_base(lab: Any, files: dict, dtype: torch.dtype):
    info = lab.node.execute(lab.load(dtype), files["corrected"], 1.0).result[1]
    assert "base: the one it was trained on" in info and "Not for clinical use" in info


@pytest.mark.parametrize("dtype", [torch.float32, *LOW_PRECISION], ids=str)
@pytest.mark.parametrize("memory", [0, 1], ids=["full load", "low memory"])
def test_after_unload_the_base_is_bit_identical(lab: Any, files: dict, dtype: torch.dtype, memory: int):
    model = lab.load(dtype)
    before = bits(model)
    adapted = lab.ours(lab.stock(model, files["lora"]), files["corrected"])
    adapted.patch_model(CPU, lowvram_model_memory=memory)
    lab.output(adapted)
    adapted.detach()
    after = bits(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def bits(model: Any) -> dict[str, torch.Tensor]:
    return {key: v.clone().reshape(-1).view(torch.uint8) for key, v in model.model.state_dict().items()}
