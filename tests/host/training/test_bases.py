"""Bases of every family do what the host's own sampler does, and let gradients through."""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ccm_pack.ccm.cohorts import NEGATIVE_PROMPT, Cohort, clinical_prompt
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training import objective
from ccm_pack.training.bases import Condition
from ccm_pack.training.config import AdapterConfig
from ccm_pack.training.layers import inject

EMBEDDED = Path(__file__).resolve().parents[3] / "weights"
FAMILIES = ["nano", "sd15", "sdxl", "sd35", "qwen-image", "qwen-image-edit", "flux"]


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def host_conditioning(base: Any, file_of_control: str, mask: torch.Tensor) -> tuple[Any, Any]:
    """Return positive and negative conditioning as the host's own nodes make them."""
    nodes = importlib.import_module("nodes")
    image = mask[None, :, :, None].expand(-1, -1, -1, 3)
    encode = nodes.CLIPTextEncode().encode
    positive, negative = (encode(base.clip, t)[0] for t in (clinical_prompt(Cohort.T1DPN), NEGATIVE_PROMPT))
    if file_of_control:
        net = importlib.import_module("comfy.controlnet").load_controlnet(
            file_of_control, model_options={"dtype": torch.float32}
        )
        apply = nodes.ControlNetApplyAdvanced().apply_controlnet
        return apply(positive, negative, net, image, 1.0, 0.0, 1.0, vae=base.vae)
    if base.facts.mask == "reference":
        set_values = importlib.import_module("node_helpers").conditioning_set_values
        latent = {"reference_latents": [base.vae.encode(image)]}
        return tuple(set_values(c, latent, append=True) for c in (positive, negative))
    return positive, negative


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_sampling_gives_what_the_hosts_ksampler_gives(families: Any, host: Path, family: str):
    base = families.base(family)
    mask = (torch.rand(64, 64, generator=torch.Generator().manual_seed(1)) > 0.9).float()
    positive, negative = host_conditioning(base, families.control_file(family), mask)
    shape = base.encode_frames(mask[None]).shape
    sampler = base.facts.sampler, base.facts.scheduler
    (expected,) = importlib.import_module("nodes").common_ksampler(
        families.model(family), 5, 4, 3.0, *sampler, positive, negative, {"samples": torch.zeros(shape)}
    )

    masks = (base.encode_mask(mask),)
    condition = Condition((base.encode_prompt(clinical_prompt(Cohort.T1DPN), None),), masks)
    without = Condition((base.encode_prompt(NEGATIVE_PROMPT, None),), masks)
    got = base.sample(condition, without, seed=5, steps=4, guidance=3.0, shape=shape)
    assert relative(got, expected["samples"]) < 1e-4
    alone = Condition(condition.prompts, (None,))
    if masks[0]:
        assert relative(base.sample(alone, without, 5, 4, 3.0, shape), got) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_its_samples_one_by_one(families: Any, objective_config: Any, family: str):
    base = families.base(family)
    batch = families.batch(base)
    with torch.no_grad():
        together = objective.loss(base, batch, objective_config)
        one_by_one = torch.cat([objective.loss(base, batch[k : k + 1], objective_config) for k in range(3)])
    assert torch.allclose(together, one_by_one, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mask_changes_the_prediction_wherever_it_has_a_way_in(families: Any, family: str):
    base = families.base(family)
    batch = families.batch(base)
    x, sigma = torch.randn(3, *batch.latents.shape[1:]), torch.tensor([0.5, 0.5, 0.5])
    without = Condition(batch.condition.prompts, (None,) * 3)
    with torch.no_grad():
        change = (base.denoised(x, sigma, batch.condition) - base.denoised(x, sigma, without)).abs()
    assert [bool(c.max() > 1e-4) for c in change] == [True, True, False]


@pytest.mark.parametrize("family", ["nano", "sd15", "flux"])
def test_gradients_are_those_of_finite_differences(families: Any, objective_config: Any, family: str):
    """Blocks of the host add in place; a gradient through a changed tensor would be silently wrong."""
    base = families.base(family)
    batch = families.batch(base)
    weight = next(p for n, p in base.network.named_parameters() if n.endswith(("qkv.weight", "to_q.weight")))
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))

    weight.requires_grad_(True)
    try:
        objective.loss(base, batch, objective_config).mean().backward()
        slope = float((weight.grad * direction).sum())
        losses: dict[float, float] = {}
        with torch.no_grad():
            for at, goal in pairwise((0.0, 1e-2, 5e-3, -5e-3, -1e-2, 0.0)):
                weight.add_(direction, alpha=goal - at)
                losses[goal] = objective.loss(base, batch, objective_config).double().mean().item()
    finally:
        weight.requires_grad_(False).grad = None
    coarse, fine = ((losses[step] - losses[-step]) / (2 * step) for step in (1e-2, 5e-3))
    assert slope == pytest.approx((4 * fine - coarse) / 3, rel=0.05)  # Richardson's extrapolation


def test_a_missing_file_is_named_with_the_folders_and_the_remedy(families: Any):
    load_base = importlib.import_module("ccm_pack.training.bases").load_base
    config = families.config("sd15")
    config.vae = "nowhere.safetensors"
    with pytest.raises(TrainingError, match=r"vae = 'nowhere.safetensors' is neither .*vae.* give its path"):
        load_base(config)


def test_a_file_of_another_family_is_refused(families: Any):
    load_base = importlib.import_module("ccm_pack.training.bases").load_base
    config = families.config("flux")
    config.family = "qwen-image"
    with pytest.raises(TrainingError, match="calls Flux; family 'qwen-image' needs QwenImage"):
        load_base(config)


def test_a_nano_checkpoint_of_ones_own_brings_its_autoencoder_unless_another_is_named(families: Any):
    load_base = importlib.import_module("ccm_pack.training.bases").load_base
    embedded, own, both = (families.config("nano") for _ in range(3))
    own.checkpoint = both.checkpoint = str(EMBEDDED / "ccm_nano_base.safetensors")
    both.vae = str(EMBEDDED / "ccm_nano_vae.safetensors")
    latents = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    frames = [load_base(config).decode(latents) for config in (embedded, own, both)]
    assert torch.equal(frames[0], frames[2])
    assert not torch.allclose(frames[0], frames[1], atol=1e-3)


def test_the_embedded_autoencoder_gives_back_the_speckle_that_the_stock_loader_leaves_out(families: Any):
    comfy_sd, utils = importlib.import_module("comfy.sd"), importlib.import_module("comfy.utils")
    file = EMBEDDED / "ccm_nano_vae.safetensors"
    stock = comfy_sd.VAE(sd=utils.load_torch_file(str(file), safe_load=True))
    ours = importlib.import_module("ccm_pack.nodes.host_loading").load_vae(file)
    light = torch.linspace(0.3, 0.5, 384).expand(384, 384)
    white = np.random.default_rng(0).standard_normal((384, 384)).astype(np.float32)
    speckle = torch.from_numpy(cv2.GaussianBlur(white, (0, 0), 0.62))
    frame = (light * torch.exp(0.15 * speckle / speckle.std()))[None, :, :, None].expand(-1, -1, -1, 3)
    with torch.no_grad():
        smooth, grainy = (vae.decode(vae.encode(frame))[0, :, :, 0] for vae in (stock, ours))
    inside = slice(16, -16)  # away from the frame's edge
    assert ((smooth - light) / light)[inside, inside].std() < 0.05
    assert ((grainy - smooth) / smooth)[inside, inside].std() == pytest.approx(0.15, rel=0.15)


def test_the_fingerprint_is_that_of_the_weights(families: Any):
    first, again = families.base("sd15"), families.load("sd15")
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != families.base("sd15", control=False).fingerprint


def test_a_base_loaded_in_inference_mode_lets_gradients_through(families: Any, objective_config: Any):
    with torch.inference_mode():
        base = families.load("flux")
    batch = families.batch(base)
    weight = next(iter(base.network.parameters())).requires_grad_(True)
    objective.loss(base, batch, objective_config).mean().backward()
    assert weight.grad is not None and weight.grad.abs().max() > 0


def test_a_base_in_fp8_trains_an_adapter(families: Any, objective_config: Any):
    base = families.load_in("flux", "fp8")
    assert next(base.network.parameters()).dtype == torch.float8_e4m3fn
    with inject(base.network, AdapterConfig(targets=base.targets, rank=2), seed=0) as adapter:
        objective.loss(base, families.batch(base), objective_config).mean().backward()
        gradients = [p.grad for p in adapter.trainable if p.grad is not None]
    assert len(gradients) > 10 and all(torch.isfinite(g).all() for g in gradients)
