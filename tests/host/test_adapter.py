"""CCM_LoadAdapter and exported files in the real host's own patching, in this process, on the CPU.

The model is a small random SD3-style MMDiT that the host detects by itself; linear layers and one convolution
are adapted. The truth is PEFT's forward pass for whole models, and the formula in float64 for single weights.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, Convention, base_from_peft, layers_from_peft, save_adapter
from ccm_pack.ccm.errors import AdapterError, AdapterMismatchError
from ccm_pack.host.locate import find
from torch import Tensor

peft = pytest.importorskip("peft")

PREFIX = "diffusion_model."
TARGETS = ["qkv", "proj", "fc1", "fc2", "adaLN_modulation.1", "context_embedder", "final_layer.linear"]
QKV = "joint_blocks.0.x_block.attn.qkv"
CONV = "x_embedder.proj"
LOW_PRECISION = [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]
CPU = torch.device("cpu")


class Host(NamedTuple):
    """Modules of the host, imported in this process."""

    comfy: Any
    nodes: Any
    folder_paths: Any
    LoadAdapter: Any
    ExactAdapter: Any


@pytest.fixture(scope="module")
def host() -> Host:
    folder = find()
    if folder is None:
        pytest.skip("no ComfyUI: set COMFYUI_PATH, or run `python . test` once")
    sys.path.insert(0, str(folder))
    importlib.import_module("comfy.cli_args").args.cpu = True
    comfy = importlib.import_module("comfy.sd") and importlib.import_module("comfy")
    nodes, folder_paths = importlib.import_module("nodes"), importlib.import_module("folder_paths")
    ours = importlib.import_module("ccm_pack.nodes.adapter")
    patch = importlib.import_module("ccm_pack.nodes.exact_adapter")
    return Host(comfy, nodes, folder_paths, ours.LoadAdapter, patch.ExactAdapter)


@pytest.fixture(scope="module")
def folder(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the host lists as models/loras."""
    path = tmp_path_factory.mktemp("loras")
    host.folder_paths.add_model_folder_path("loras", str(path))
    return path


@pytest.fixture(autouse=True)
def executor(host: Host) -> Iterator[None]:
    """Run the test as the host's executor runs nodes, and unload everything after it."""
    with torch.inference_mode():
        yield
    host.comfy.model_management.unload_all_models()


def base_state(seed: int = 0) -> dict[str, Tensor]:
    mmdit = importlib.import_module("comfy.ldm.modules.diffusionmodules.mmdit")
    ops = importlib.import_module("comfy.ops").disable_weight_init
    context = {"target": "torch.nn.Linear", "params": {"in_features": 40, "out_features": 128}}
    sizes = {"depth": 2, "in_channels": 16, "patch_size": 2, "adm_in_channels": 24, "input_size": None}
    model = mmdit.MMDiT(
        **sizes, context_embedder_config=context, operations=ops, device=CPU, dtype=torch.float32
    )
    generator = torch.Generator().manual_seed(seed)
    return {k: 0.05 * torch.randn(v.shape, generator=generator) for k, v in model.state_dict().items()}


def load(host: Host, dtype: torch.dtype = torch.float32, state: dict[str, Tensor] | None = None) -> Any:
    state = {k: v.clone() for k, v in (state or base_state()).items()}
    return host.comfy.sd.load_diffusion_model_state_dict(state, model_options={"dtype": dtype})


def output(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    x, context, pooled = (torch.randn(s, generator=generator) for s in ((2, 16, 8, 8), (2, 5, 40), (2, 24)))
    with torch.no_grad():
        return model.model.apply_model(x, torch.tensor([0.3, 0.7]), c_crossattn=context, y=pooled)


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


class Trained(NamedTuple):
    """An adapter that PEFT injected: what the adapted model computes, and the adapter itself."""

    output: Tensor
    layers: dict[str, AdapterLayer]
    base: dict[str, Tensor]


def train(host: Host, *, use_dora: bool, seed: int = 1) -> Trained:
    """Inject an adapter by PEFT into the host's model and give it values as after a training."""
    model = load(host)
    config = peft.LoraConfig(r=4, lora_alpha=8, use_dora=use_dora, use_rslora=True, target_modules=TARGETS)
    peft.inject_adapter_in_model(config, model.model.diffusion_model)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "lora_B" in name:
            parameter.data.add_(0.02 * noise)
        elif "lora_magnitude" in name:
            parameter.data.mul_(1 + 0.03 * noise)
    model.model.eval()
    diffusion_model = model.model.diffusion_model
    base = {name: weight.clone() for name, weight in base_from_peft(diffusion_model).items()}
    return Trained(output(model), layers_from_peft(diffusion_model), base)


@pytest.fixture(scope="module")
def dora(host: Host) -> Trained:
    return train(host, use_dora=True)


@pytest.fixture(scope="module")
def lora(host: Host) -> Trained:
    return train(host, use_dora=False, seed=2)


@pytest.fixture(scope="module")
def files(folder: Path, dora: Trained, lora: Trained) -> dict[str, str]:
    """The files of both adapters by convention."""
    for convention in (Convention.CORRECTED, Convention.TRUE_M):
        save_adapter(
            folder / f"{convention.value}.safetensors", dora.layers, dora.base, convention=convention
        )
    save_adapter(folder / "lora.safetensors", lora.layers, lora.base)
    return {kind.value: f"{kind.value}.safetensors" for kind in Convention}


def ours(host: Host, model: Any, file: str, strength: float = 1.0) -> Any:
    return host.LoadAdapter.execute(model, file, strength).result[0]


def stock(host: Host, model: Any, file: str, strength: float = 1.0) -> Any:
    return host.nodes.LoraLoaderModelOnly().load_lora_model_only(model, file, strength)[0]


def put_on(host: Host, model: Any) -> dict[str, Tensor]:
    """Load the model fully as a sampler would, and return its weights by module name."""
    host.comfy.model_management.load_models_gpu([model])
    return weights_of(model)


def weights_of(model: Any) -> dict[str, Tensor]:
    state = model.model.diffusion_model.state_dict()
    return {key.removesuffix(".weight"): v.clone() for key, v in state.items() if key.endswith(".weight")}


def change(base: Tensor, layer: AdapterLayer) -> Tensor:
    """W' - W0 in float64, written out anew."""
    w0 = base.double()
    product = layer.up.double().flatten(1) @ layer.down.double().flatten(1)
    v = w0 + layer.scale * product.reshape(w0.shape)
    if layer.row_scale is None:
        return v - w0
    norm = v.flatten(1).norm(dim=1)
    return (layer.row_scale.double() / norm).reshape(-1, *[1] * (w0.dim() - 1)) * v - w0


def assert_changed_by(
    weights: dict[str, Tensor],
    base: dict[str, Tensor],
    expected: Callable[[str], Tensor],
    tolerance: float = 1e-5,
) -> None:
    """Every weight is base + expected(name), measured against the size of the change."""
    errors = {name: relative(weights[name].double() - base[name].double(), expected(name)) for name in base}
    assert max(errors.values()) <= tolerance, errors


# Whole models against PEFT


@pytest.mark.parametrize("kind", ["corrected", "true-m"])
def test_the_node_gives_the_output_of_the_peft_model(host: Host, dora: Trained, files: dict, kind: str):
    model = ours(host, load(host), files[kind])
    put_on(host, model)
    assert relative(output(model), dora.output) <= 1e-5
    assert relative(output(model), output(load(host))) > 0.01  # the adapter does something


def test_the_node_gives_the_output_of_the_peft_model_for_a_plain_lora(host: Host, lora: Trained, files: dict):
    model = ours(host, load(host), files["lora"])
    put_on(host, model)
    assert relative(output(model), lora.output) <= 1e-5


def test_the_stock_loader_gives_the_output_of_the_peft_model(host: Host, dora: Trained, files: dict):
    model = stock(host, load(host), files["corrected"])
    put_on(host, model)
    assert relative(output(model), dora.output) <= 1e-5


def test_the_stock_loader_reads_every_key(host: Host, files: dict, caplog: pytest.LogCaptureFixture):
    stock(host, load(host), files["corrected"])
    assert "not loaded" not in caplog.text.lower()


def test_the_low_memory_path_gives_the_output_of_the_peft_model(host: Host, dora: Trained, files: dict):
    model = ours(host, load(host), files["corrected"])
    model.patch_model(CPU, lowvram_model_memory=1)
    assert model.model.model_lowvram
    assert relative(output(model), dora.output) <= 1e-5
    model.detach()


# Single weights


@pytest.mark.parametrize("strength", [1.0, 0.4, -0.7, 0.0, 2.5])
@pytest.mark.parametrize("kind", ["corrected", "true-m"])
def test_weights_are_the_base_plus_k_times_the_change(
    host: Host, dora: Trained, files: dict, kind: str, strength: float
):
    weights = put_on(host, ours(host, load(host), files[kind], strength))
    if strength == 0:
        assert all(torch.equal(weights[name], dora.base[name]) for name in dora.base)
    else:
        assert_changed_by(weights, dora.base, lambda n: strength * change(dora.base[n], dora.layers[n]))


@pytest.mark.parametrize("order", ["stock first", "stock last", "stock on both sides"])
@pytest.mark.parametrize("kind", ["corrected", "true-m"])
def test_a_stock_lora_adds_and_leaves_the_adapter_exact(
    host: Host, dora: Trained, lora: Trained, files: dict, kind: str, order: str
):
    model, times = load(host), 0
    if order != "stock last":
        model, times = stock(host, model, files["lora"], 0.6), times + 1
    model = ours(host, model, files[kind], 0.8)
    if order != "stock first":
        model, times = stock(host, model, files["lora"], 0.6), times + 1

    def expected(name: str) -> Tensor:
        base = dora.base[name]
        return times * 0.6 * change(base, lora.layers[name]) + 0.8 * change(base, dora.layers[name])

    assert_changed_by(put_on(host, model), dora.base, expected)


def test_two_adapters_of_ours_both_start_from_the_base(host: Host, dora: Trained, lora: Trained, files: dict):
    model = ours(host, load(host), files["corrected"], 0.5)
    model = stock(host, model, files["lora"], 0.6)
    model = ours(host, model, files["true-m"], -0.2)
    model = ours(host, model, files["lora"], 0.1)

    def expected(name: str) -> Tensor:
        base = dora.base[name]
        return 0.3 * change(base, dora.layers[name]) + 0.7 * change(base, lora.layers[name])

    assert_changed_by(put_on(host, model), dora.base, expected)


def test_a_model_merge_before_the_adapter_is_its_base(host: Host, dora: Trained, files: dict):
    other = base_state(seed=9)
    model = host_merge(load(host), load(host, state=other), 0.75)
    model = ours(host, model, files["true-m"])
    base = {name: 0.75 * w + 0.25 * other[f"{name}.weight"] for name, w in dora.base.items()}
    assert_changed_by(put_on(host, model), base, lambda n: change(base[n], dora.layers[n]))


def test_a_model_merge_after_the_adapter_merges_the_adapted_model(host: Host, dora: Trained, files: dict):
    other = base_state(seed=9)
    model = host_merge(ours(host, load(host), files["true-m"]), load(host, state=other), 0.75)
    base = {name: 0.75 * w + 0.25 * other[f"{name}.weight"] for name, w in dora.base.items()}
    assert_changed_by(put_on(host, model), base, lambda n: 0.75 * change(dora.base[n], dora.layers[n]))


def test_an_adapted_model_merged_into_another_brings_its_adapter(host: Host, dora: Trained, files: dict):
    other = base_state(seed=9)
    model = host_merge(load(host, state=other), ours(host, load(host), files["corrected"]), 0.75)
    base = {name: 0.25 * w + 0.75 * other[f"{name}.weight"] for name, w in dora.base.items()}
    assert_changed_by(put_on(host, model), base, lambda n: 0.25 * change(dora.base[n], dora.layers[n]))


def host_merge(first: Any, second: Any, ratio: float) -> Any:
    """ratio * first + (1 - ratio) * second, as the host's model merge node does it."""
    merged = first.clone()
    for key, patches in second.get_key_patches(PREFIX).items():
        merged.add_patches({key: patches}, 1 - ratio, ratio)
    return merged


# Low precision


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
@pytest.mark.parametrize("kind", ["corrected", "true-m"])
def test_a_low_precision_base_loses_only_the_rounding_of_the_host(
    host: Host, dora: Trained, files: dict, kind: str, dtype: torch.dtype
):
    weights = put_on(host, ours(host, load(host, dtype), files[kind]))
    seed = host.comfy.model_patcher.string_to_seed
    for name in dora.base:
        base = dora.base[name].to(dtype)
        exact = base.double() + change(base, dora.layers[name])
        rounded = host.comfy.float.stochastic_rounding(exact.float(), dtype, seed(f"{PREFIX}{name}.weight"))
        assert weights[name].dtype == dtype
        assert relative(weights[name], exact) <= 1.1 * relative(rounded, exact), name


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16], ids=str)
def test_the_low_memory_path_loses_only_the_rounding_of_the_compute_dtype(
    host: Host, dora: Trained, files: dict, dtype: torch.dtype, compute: torch.dtype
):
    model = ours(host, load(host, dtype), files["corrected"])
    model.patch_model(CPU, lowvram_model_memory=1)
    for name in dora.base:
        module = model.model.diffusion_model.get_submodule(name)
        weight, _ = host.comfy.ops.cast_bias_weight(module, dtype=compute, device=CPU, bias_dtype=compute)
        base = dora.base[name].to(dtype).to(compute)
        exact = base.double() + change(base, dora.layers[name])
        assert weight.dtype == compute
        assert relative(weight, exact) <= 1.1 * max(relative(exact.to(compute), exact), 1e-6), name
    model.detach()


# Loading, unloading, sharing


@pytest.mark.parametrize("dtype", [torch.float32, *LOW_PRECISION], ids=str)
@pytest.mark.parametrize("memory", [0, 1], ids=["full load", "low memory"])
def test_after_unload_the_base_is_bit_identical(host: Host, files: dict, dtype: torch.dtype, memory: int):
    model = load(host, dtype)
    before = bits(model)
    adapted = ours(host, model, files["corrected"])
    adapted.patch_model(CPU, lowvram_model_memory=memory)
    output(adapted)
    adapted.detach()
    after = bits(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def bits(model: Any) -> dict[str, Tensor]:
    return {key: v.clone().reshape(-1).view(torch.uint8) for key, v in model.model.state_dict().items()}


def test_the_incoming_model_stays_as_it_is(host: Host, files: dict):
    model = stock(host, load(host), files["lora"])
    before = {key: list(patches) for key, patches in model.patches.items()}
    ours(host, model, files["corrected"])
    assert model.patches == before


def test_an_adapter_loaded_while_the_model_is_patched_starts_from_the_base(
    host: Host, dora: Trained, lora: Trained, files: dict
):
    model = load(host)
    with_lora = stock(host, model, files["lora"], 3.0)
    put_on(host, with_lora)
    adapted = ours(host, model, files["corrected"])
    for _ in range(2):
        assert_changed_by(put_on(host, adapted), dora.base, lambda n: change(dora.base[n], dora.layers[n]))
        assert_changed_by(
            put_on(host, with_lora), lora.base, lambda n: 3 * change(lora.base[n], lora.layers[n])
        )


def test_a_partial_unload_keeps_the_output(host: Host, dora: Trained, files: dict):
    model = ours(host, load(host), files["corrected"])
    put_on(host, model)
    model.partially_unload(CPU, memory_to_free=model.model_size() // 2)
    assert model.model.model_lowvram
    assert relative(output(model), dora.output) <= 1e-5


def test_an_adapter_rebuilt_from_plain_tuples_is_the_same(host: Host, dora: Trained):
    adapter = host.ExactAdapter(set(), ((0.5, dora.layers[QKV]),))
    rebuilt = type(adapter)(adapter.loaded_keys, ((0.5, tuple(dora.layers[QKV])),))
    results = [
        a.calculate_weight(dora.base[QKV].clone(), QKV, 1.0, 1.0, None, None) for a in (adapter, rebuilt)
    ]
    assert torch.equal(*results)


# Odd layers


def test_the_convolution_is_among_the_adapted_layers(dora: Trained):
    assert dora.layers[CONV].down.dim() == 4 and dora.layers[CONV].row_scale is not None


@pytest.mark.parametrize("kind", ["corrected", "true-m"])
@pytest.mark.parametrize("name", [QKV, CONV])
def test_all_zero_rows_stay_zero_and_the_others_stay_exact(
    host: Host, dora: Trained, folder: Path, name: str, kind: str
):
    state = base_state()
    state[f"{name}.weight"][3] = 0
    layer = dora.layers[name]
    up, magnitude = layer.up.clone(), layer.row_scale.clone()
    up[3], magnitude[3] = 0, 0
    layer = layer._replace(up=up, row_scale=magnitude)
    base = state[f"{name}.weight"]
    save_adapter(folder / "zero.safetensors", {name: layer}, {name: base}, convention=Convention(kind))
    weight = put_on(host, ours(host, load(host, state=state), "zero.safetensors"))[name]
    assert weight[3].abs().max() == 0
    others = [i for i in range(len(base)) if i != 3]
    assert relative(weight[others].double() - base[others], change(base, layer)[others]) <= 1e-5


# What is refused, and what is said


def test_a_corrected_file_is_refused_on_another_base(host: Host, files: dict):
    with pytest.raises(AdapterMismatchError, match="another base"):
        ours(host, load(host, state=base_state(seed=9)), files["corrected"])


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
def test_info_says_that_a_cast_is_the_same_base(host: Host, files: dict, dtype: torch.dtype):
    info = host.LoadAdapter.execute(load(host, dtype), files["corrected"], 1.0).result[1]
    assert "base: the one it was trained on" in info and "Not for clinical use" in info


def test_layers_of_another_model_are_refused(host: Host, folder: Path):
    layer = {"no.such.layer": AdapterLayer(torch.ones(1, 2), torch.ones(2, 1), 1.0)}
    save_adapter(folder / "other.safetensors", layer, {"no.such.layer": torch.ones(2, 2)})
    with pytest.raises(AdapterMismatchError, match=r"not in this model \(no.such.layer\)"):
        ours(host, load(host), "other.safetensors")


def test_a_missing_file_is_named_with_the_folders_searched(host: Host, folder: Path):
    with pytest.raises(AdapterError, match=f"'nowhere.safetensors' in .*{folder}"):
        ours(host, load(host), "nowhere.safetensors")
    assert "nowhere" in host.LoadAdapter.validate_inputs("nowhere.safetensors")


def test_a_strength_that_is_no_number_is_refused(host: Host, files: dict):
    with pytest.raises(AdapterError, match="strength"):
        ours(host, load(host), files["corrected"], float("nan"))


def test_the_fingerprint_changes_with_the_file(host: Host, folder: Path, lora: Trained):
    path = folder / "changing.safetensors"
    save_adapter(path, lora.layers, lora.base)
    first = host.LoadAdapter.fingerprint_inputs(adapter=path.name, strength=1.0)
    assert host.LoadAdapter.fingerprint_inputs(adapter=path.name, strength=1.0) == first
    save_adapter(path, lora.layers, lora.base, training={"steps": 1})
    assert host.LoadAdapter.fingerprint_inputs(adapter=path.name, strength=1.0) != first
