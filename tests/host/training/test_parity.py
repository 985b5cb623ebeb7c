"""What the trainer has in memory is what the host makes of the exported file, by our loader and by its own."""

from __future__ import annotations

import copy
import importlib
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from ccm_pack.ccm.adapter import Convention, base_from_peft, layers_from_peft, read_adapter, save_adapter

FAMILIES = ["nano", "sd15", "sdxl", "sd35", "qwen-image", "qwen-image-edit", "flux"]


class Exported:
    """An adapter after 20 steps of training, its file, and what the model computed with it and without."""

    def __init__(self, base: Any, batch: Any, objective: Any, path: Path) -> None:
        layers = importlib.import_module("ccm_pack.training.layers")
        self.base, self.batch, self.path = base, batch, path
        self.raw = self.output(base)
        config = importlib.import_module("ccm_pack.training.config").AdapterConfig(
            rank=4, alpha=8.0, targets=base.targets
        )
        with layers.inject(base.network, config, seed=0) as adapter:
            self.losses = self.train(adapter, objective)
            self.trained = self.output(base)
            self.names = adapter.names
            layers, weights = layers_from_peft(base.network), base_from_peft(base.network)
            save_adapter(path, layers, weights, convention=stock_convention())

    def train(self, adapter: Any, config: Any) -> list[float]:
        loss_of = importlib.import_module("ccm_pack.training.objective").loss
        optimizer = torch.optim.AdamW(adapter.trainable, lr=5e-3)
        losses = []
        for _ in range(20):
            loss = loss_of(self.base, self.batch, config).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            adapter.refresh()
            losses.append(loss.item())
        return losses

    def output(self, base: Any) -> torch.Tensor:
        """Return the network's own output on fixed noise: (x - denoised) / sigma."""
        x = torch.randn(self.batch.latents.shape, generator=torch.Generator().manual_seed(4))
        sigma = torch.tensor([0.4, 0.6, 0.9])
        with torch.no_grad():
            denoised = base.denoised(x, sigma, self.batch.condition)
        return (x - denoised) / sigma.reshape(-1, *[1] * (x.dim() - 1))

    def output_of(self, model: Any) -> torch.Tensor:
        """Return the same of a MODEL of the host, its patches applied."""
        importlib.import_module("comfy.model_management").load_models_gpu([model])
        base = copy.copy(self.base)
        base.model = model.model
        return self.output(base)


def stock_convention() -> Convention:
    """Return the convention that this host's own loader applies exactly, found by trying."""
    decompose = importlib.import_module("comfy.weight_adapter.base").weight_decompose
    product = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    got = decompose(torch.ones(2, 1), torch.eye(2), product, 1.0, 1.0, torch.float32, lambda x: x)
    return Convention.CORRECTED if got[0, 0] > 1.5 else Convention.TRUE_M


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request: pytest.FixtureRequest, families: Any, objective_config: Any, loras: Path) -> Exported:
    base = families.base(request.param)
    return Exported(base, families.batch(base), objective_config, loras / f"{request.param}.safetensors")


@pytest.fixture
def model(exported: Exported, families: Any) -> Any:
    """The raw base as the host's own loader gives it."""
    return families.model(exported.base.family)


def test_twenty_steps_lower_the_loss_and_change_the_output(exported: Exported):
    assert exported.losses[-1] < exported.losses[0]
    assert relative(exported.raw, exported.trained) > 0.01


def test_after_the_training_the_base_is_as_it_was(exported: Exported):
    assert torch.equal(exported.output(exported.base), exported.raw)


def test_the_file_holds_every_adapted_layer(exported: Exported):
    assert sorted(read_adapter(exported.path).layers) == sorted(exported.names)


def test_our_loader_gives_the_output_of_the_trained_model(exported: Exported, model: Any):
    node = importlib.import_module("ccm_pack.nodes.adapter").LoadAdapter
    loaded = node.execute(model, exported.path.name, 1.0).result[0]
    assert relative(exported.output_of(loaded), exported.trained) <= 1e-5


def test_the_stock_loader_gives_the_output_of_the_trained_model(
    exported: Exported, model: Any, caplog: pytest.LogCaptureFixture
):
    loader = importlib.import_module("nodes").LoraLoaderModelOnly()
    with caplog.at_level(logging.WARNING):
        (loaded,) = loader.load_lora_model_only(model, exported.path.name, 1.0)
    assert "not loaded" not in caplog.text.lower()
    assert len(loaded.patches) == len(exported.names)
    assert relative(exported.output_of(loaded), exported.trained) <= 1e-5
