"""A laboratory for adapters: the real host's own code in this process, on the CPU, and small models for it.

The models are random SD3-style MMDiTs that the host detects by itself; their linear layers and a convolution
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
from torch import Tensor

TARGETS = ["qkv", "proj", "fc1", "fc2", "adaLN_modulation.1", "context_embedder", "final_layer.linear"]
CPU = torch.device("cpu")


class Trained(NamedTuple):
    """An adapter that PEFT injected: what the adapted model computes, and the adapter itself."""

    output: Tensor
    layers: dict[str, AdapterLayer]
    base: dict[str, Tensor]


class Lab:
    """The host's modules, the node under test, and what is done with them again and again."""

    def __init__(self, comfy: Path, loras: Path) -> None:
        sys.path.insert(0, str(comfy))
        importlib.import_module("comfy.cli_args").args.cpu = True
        importlib.import_module("comfy.sd")
        self.comfy: Any = importlib.import_module("comfy")
        self.nodes: Any = importlib.import_module("nodes")
        self.node: Any = importlib.import_module("ccm_pack.nodes.adapter").LoadAdapter
        self.loras = loras
        importlib.import_module("folder_paths").add_model_folder_path("loras", str(loras))

    def state(self, seed: int = 0) -> dict[str, Tensor]:
        """Return the random weights of a model, by the host's names."""
        mmdit = importlib.import_module("comfy.ldm.modules.diffusionmodules.mmdit")
        context = {"target": "torch.nn.Linear", "params": {"in_features": 40, "out_features": 128}}
        model = mmdit.MMDiT(
            depth=2,
            in_channels=16,
            patch_size=2,
            adm_in_channels=24,
            input_size=None,
            context_embedder_config=context,
            operations=self.comfy.ops.disable_weight_init,
            device=CPU,
            dtype=torch.float32,
        )
        generator = torch.Generator().manual_seed(seed)
        return {k: 0.05 * torch.randn(v.shape, generator=generator) for k, v in model.state_dict().items()}

    def load(self, dtype: torch.dtype | None = torch.float32, state: dict[str, Tensor] | None = None) -> Any:
        """Return a MODEL whose weights are stored in this dtype."""
        state = {k: v.clone() for k, v in (state or self.state()).items()}
        options = {} if dtype is None else {"dtype": dtype}
        return self.comfy.sd.load_diffusion_model_state_dict(state, model_options=options)

    def ours(self, model: Any, file: str, strength: float = 1.0) -> Any:
        """Apply a file with CCM_LoadAdapter."""
        return self.node.execute(model, file, strength).result[0]

    def stock(self, model: Any, file: str, strength: float = 1.0) -> Any:
        """Apply a file with the host's own LoRA loader."""
        return self.nodes.LoraLoaderModelOnly().load_lora_model_only(model, file, strength)[0]

    def put_on(self, model: Any) -> dict[str, Tensor]:
        """Load the model fully as a sampler would, and return its weights by module name."""
        self.comfy.model_management.load_models_gpu([model])
        state = model.model.diffusion_model.state_dict()
        return {key.removesuffix(".weight"): v.clone() for key, v in state.items() if key.endswith(".weight")}

    def merge(self, first: Any, second: Any, ratio: float) -> Any:
        """Return ratio * first + (1 - ratio) * second, as the host's model merge node makes it."""
        merged = first.clone()
        for key, patches in second.get_key_patches("diffusion_model.").items():
            merged.add_patches({key: patches}, 1 - ratio, ratio)
        return merged

    def rounded(self, name: str, exact: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a weight as the host rounds it after patching."""
        seed = self.comfy.model_patcher.string_to_seed(f"diffusion_model.{name}.weight")
        return self.comfy.float.stochastic_rounding(exact.float(), dtype, seed)

    def stock_convention(self) -> Convention:
        """Return the convention that this host's own loader applies exactly, found by trying."""
        decompose = importlib.import_module("comfy.weight_adapter.base").weight_decompose
        product = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        got = decompose(torch.ones(2, 1), torch.eye(2), product, 1.0, 1.0, torch.float32, lambda x: x)
        return Convention.CORRECTED if got[0, 0] > 1.5 else Convention.TRUE_M

    @staticmethod
    def output(model: Any) -> Tensor:
        """Return what the diffusion model computes on a fixed input."""
        generator = torch.Generator().manual_seed(5)
        x, context, pooled = (
            torch.randn(s, generator=generator) for s in ((2, 16, 8, 8), (2, 5, 40), (2, 24))
        )
        with torch.no_grad():
            return model.model.apply_model(x, torch.tensor([0.3, 0.7]), c_crossattn=context, y=pooled)

    @staticmethod
    def change(base: Tensor, layer: AdapterLayer) -> Tensor:
        """Return W' - W0 in float64, written out anew."""
        w0 = base.double()
        product = layer.up.double().flatten(1) @ layer.down.double().flatten(1)
        v = w0 + layer.scale * product.reshape(w0.shape)
        if layer.row_scale is None:
            return v - w0
        factor = layer.row_scale.double() / v.flatten(1).norm(dim=1)
        return factor.reshape(-1, *[1] * (w0.dim() - 1)) * v - w0

    @staticmethod
    def relative(got: Tensor, expected: Tensor) -> float:
        """Return ||got - expected|| / ||expected||."""
        return float((got.double() - expected.double()).norm() / expected.double().norm())

    def assert_changed_by(
        self, weights: dict[str, Tensor], base: dict[str, Tensor], expected: Callable[[str], Tensor]
    ) -> None:
        """Every weight is base + expected(name) to within 1e-5 of the change."""
        errors = {
            name: self.relative(weights[name].double() - base[name].double(), expected(name)) for name in base
        }
        print(f"weights: error {max(errors.values()):.1e} of the change")
        assert max(errors.values()) <= 1e-5, errors

    def assert_output(self, model: Any, expected: Tensor) -> None:
        """The diffusion model computes `expected` to within 1e-5."""
        error = self.relative(self.output(model), expected)
        print(f"output: error {error:.1e}")
        assert error <= 1e-5

    def train(self, *, use_dora: bool, seed: int) -> Trained:
        """Inject an adapter by PEFT into the host's model and give it values as after a training."""
        peft = pytest.importorskip("peft")
        model = self.load()
        config = peft.LoraConfig(
            r=4, lora_alpha=8, use_dora=use_dora, use_rslora=True, target_modules=TARGETS
        )
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
        return Trained(self.output(model), layers_from_peft(diffusion_model), base)


@pytest.fixture(scope="session")
def lab(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(comfy, tmp_path_factory.mktemp("loras"))


@pytest.fixture(scope="session")
def dora(lab: Lab) -> Trained:
    return lab.train(use_dora=True, seed=1)


@pytest.fixture(scope="session")
def lora(lab: Lab) -> Trained:
    return lab.train(use_dora=False, seed=2)


@pytest.fixture(scope="session")
def files(lab: Lab, dora: Trained, lora: Trained) -> dict[str, str]:
    """The files of both adapters, by convention."""
    for convention in (Convention.CORRECTED, Convention.TRUE_M):
        path = lab.loras / f"{convention.value}.safetensors"
        save_adapter(path, dora.layers, dora.base, convention=convention)
    save_adapter(lab.loras / "lora.safetensors", lora.layers, lora.base)
    return {kind.value: f"{kind.value}.safetensors" for kind in Convention}


@pytest.fixture
def executor(lab: Lab, files: dict[str, str]) -> Iterator[None]:
    """Run the test as the host's executor runs nodes, and unload everything after it."""
    with torch.inference_mode():
        yield
    lab.comfy.model_management.unload_all_models()
