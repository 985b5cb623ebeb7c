"""A control net of one's own: it begins as a copy that changes nothing, learns, and reloads in the stock loader."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any

import pytest
import small_models
import torch
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training import config as c
from safetensors.torch import load_file, save_file

FAMILIES = ["nano", "sd15", "sdxl", "sd35", "qwen-image", "flux"]


def module(name: str) -> Any:
    return importlib.import_module(f"ccm_pack.training.{name}")


def config(family: str, **run: Any) -> c.TrainConfig:
    tables = {
        "base": {"family": family},
        "data": {"path": "."},
        "run": {"folder": ".", "kind": "control", **run},
    }
    return c.parse_config({**tables, "control": {"blocks": 1}})


class Trained:
    """A control net after 20 steps, what the model computes with it, and its file."""

    def __init__(self, families: Any, family: str, objective: Any, path: Path) -> None:
        control_net = module("control_net")
        loaded = families.load_without_control(family)
        self.base, self.path = loaded, path
        control_net.give_control_net(loaded, config(family))
        self.batch = families.batch(loaded)
        masked = self.batch[:2]
        self.before = self.output(loaded), self.output(loaded, masks=False)
        task = control_net.ControlTask(loaded, None, None, objective, loaded.device, 1)
        optimizer = torch.optim.AdamW(task.parameters.values(), lr=2e-3)
        self.losses = []
        for _ in range(20):
            loss = module("objective").loss(loaded, masked, objective).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.losses.append(loss.item())
        self.after = self.output(loaded)
        task.export(path, {"seed": 0}, 20)

    def output(self, base: Any, masks: bool = True) -> torch.Tensor:
        """Return what the network gives on fixed noise: (x - denoised) / sigma."""
        batch = self.batch[:2]
        x = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(4))
        sigma = torch.tensor([0.4, 0.9])
        condition = batch.condition if masks else type(batch.condition)(batch.condition.prompts, (None, None))
        with torch.no_grad():
            denoised = base.denoised(x, sigma, condition)
        return (x - denoised) / sigma.reshape(-1, *[1] * (x.dim() - 1))


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request: Any, families: Any, objective_config: Any, tmp_path_factory: Any) -> Trained:
    path = tmp_path_factory.mktemp("control") / "control_net.safetensors"
    return Trained(families, request.param, objective_config, path)


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def test_a_new_control_net_changes_nothing(trained: Trained):
    assert relative(*trained.before) < 1e-6


def test_twenty_steps_lower_the_loss_by_way_of_the_mask(trained: Trained):
    assert trained.losses[-1] < trained.losses[0]
    assert relative(trained.after, trained.before[0]) > 1e-3


def test_the_file_reloads_in_the_stock_loader_with_the_same_output(trained: Trained):
    if trained.base.family == "qwen-image":  # the host detects small ones by a marker only
        save_file({**load_file(trained.path), **small_models.MARK}, trained.path)
    net = importlib.import_module("comfy.controlnet").load_controlnet(
        str(trained.path), model_options={"dtype": torch.float32}
    )
    base = copy.copy(trained.base)
    base.route = module("bases.routes").ControlRoute(net, base.vae, base.model, base.device)
    assert relative(trained.output(base), trained.after) <= 1e-5


def test_a_base_with_a_way_for_masks_is_refused(families: Any):
    for family, said in (("sd15", "and a control net"), ("qwen-image-edit", "takes the mask another way")):
        with pytest.raises(TrainingError, match=said):
            module("control_net").give_control_net(families.base(family), config(family))


def test_dropped_masks_are_refused():
    tables = {"base": {"family": "nano"}, "run": {"folder": "r", "kind": "control"}}
    with pytest.raises(TrainingError, match="data.control_drop is 0.1, expected no more than 0"):
        c.parse_config({**tables, "data": {"path": ".", "control_drop": 0.1}})


def test_a_run_ends_in_a_control_net_for_the_stock_loader_and_a_report(host: Any, tmp_path: Path):
    data, weights = module("data.phantoms"), Path(__file__).resolve().parents[3] / "weights"
    data.write_phantoms(data.PhantomRequest(patients=6, frames=1, seed=3), tmp_path / "data", workers=1)
    files = {"checkpoint": "base", "text_encoder": "text"}
    tables = {
        "base": {"family": "sd35"}
        | {k: str(weights / f"ccm_nano_{v}.safetensors") for k, v in files.items()},
        "data": {"path": str(tmp_path / "data"), "crop_px": 96, "flips": False},
        "control": {"blocks": 1},
        "optimizer": {"steps": 2, "batch": 1, "warmup_steps": 0},
        "run": {"folder": str(tmp_path / "run"), "kind": "control", "device": "cpu"},
    }
    assert module("trainer").train(c.parse_config(tables))
    path = tmp_path / "run" / "control_net.safetensors"
    assert importlib.import_module("comfy.controlnet").load_controlnet(str(path)) is not None
    assert "models/controlnet" in (tmp_path / "run" / "report.md").read_text()
