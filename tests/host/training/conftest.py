"""The real host's own code in this process, on the CPU, and small base models of every family."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import small_models  # noqa: E402

WEIGHTS = Path(__file__).resolve().parents[3] / "weights"


@pytest.fixture(scope="session")
def host(comfy: Path) -> Path:
    """The host's modules can be imported; the models that need it are registered."""
    sys.path.insert(0, str(comfy))
    importlib.import_module("comfy.cli_args").args.cpu = True
    small_models.register()
    return comfy


class Families:
    """Builds base models of small random weights, once each, from files as a user has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded: dict[tuple[str, bool], Any] = {}

    def config(self, family: str, control: bool = True, dtype: str = "fp32") -> Any:
        """Return the table [base] of a family, its files written."""
        table: dict[str, Any] = dict.fromkeys(("checkpoint", "diffusion_model", "vae", "control_net"), "")
        table |= {
            "family": family,
            "dtype": dtype,
            "mask_style": "nerve mask",
            "text_encoder": (str(WEIGHTS / "ccm_nano_text.safetensors"),),
        }
        makers: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Path], Any]] = {
            "sd15": (small_models.unet, lambda p: small_models.taesd(p, 4), small_models.unet_control),
            "sdxl": (small_models.sdxl, lambda p: small_models.taesd(p, 4), small_models.sdxl_control),
            "sd35": (small_models.sd35, lambda p: small_models.taesd(p, 16), small_models.sd35_control),
            "qwen-image": (small_models.qwen_image, small_models.wan_vae, small_models.qwen_control),
            "qwen-image-edit": (small_models.qwen_image, small_models.wan_vae, None),
            "flux": (small_models.flux, lambda p: small_models.taesd(p, 16), small_models.flux_control),
        }
        if family in makers:
            model, vae, net = makers[family]
            table["diffusion_model"] = str(model(self.folder / f"{family}.safetensors"))
            table["vae"] = str(vae(self.folder / f"{family}_vae.safetensors"))
            if net is not None and control:
                table["control_net"] = str(net(self.folder / f"{family}_control.safetensors"))
        return SimpleNamespace(**table)

    def base(self, family: str, control: bool = True) -> Any:
        """Return the base in fp32."""
        if (family, control) not in self.loaded:
            self.loaded[family, control] = self.load(family, control)
        return self.loaded[family, control]

    def load(self, family: str, control: bool = True) -> Any:
        """Return a base of its own, in fp32."""
        return importlib.import_module("ccm_pack.training.bases").load_base(self.config(family, control))

    def load_in(self, family: str, dtype: str) -> Any:
        """Return a base of its own without a control net, its weights stored in this type."""
        config = self.config(family, control=False, dtype=dtype)
        return importlib.import_module("ccm_pack.training.bases").load_base(config)

    def load_without_control(self, family: str) -> Any:
        """Return a base of its own to which masks have no way yet."""
        config = self.config(family, control=False)
        if family == "nano":
            config.family, config.checkpoint = "sd35", str(WEIGHTS / "ccm_nano_base.safetensors")
            config.vae = str(WEIGHTS / "ccm_nano_vae.safetensors")
        return importlib.import_module("ccm_pack.training.bases").load_base(config)

    def model(self, family: str) -> Any:
        """Return the MODEL of a family as the host's own loader gives it, in fp32."""
        sd, options = importlib.import_module("comfy.sd"), {"dtype": torch.float32}
        if family == "nano":
            file = str(WEIGHTS / "ccm_nano_base.safetensors")
            parts = {"output_vae": False, "output_clip": False}
            model = sd.load_checkpoint_guess_config(file, **parts, model_options=options)[0]
            importlib.import_module("ccm_pack.nodes.nano").guide_in_weak_noise(model)
            return model
        return sd.load_diffusion_model(self.config(family).diffusion_model, model_options=options)

    def control_file(self, family: str) -> str:
        """Return the control net's file, or "" """
        return (
            str(WEIGHTS / "ccm_nano_control.safetensors")
            if family == "nano"
            else self.config(family).control_net
        )

    def batch(self, base: Any, count: int = 3, side: int = 64, seed: int = 0) -> Any:
        """Return a batch of random frames and masks; the last sample has no mask and a shorter prompt."""
        generator = torch.Generator().manual_seed(seed)
        frames = torch.rand(count, side, side, generator=generator)
        masks = (torch.rand(count, side, side, generator=generator) > 0.9).float()
        cohorts = importlib.import_module("ccm_pack.ccm.cohorts")
        prompts = [cohorts.clinical_prompt(cohorts.Cohort.T1DPN)] * (count - 1) + ["nerves"]
        Batch = importlib.import_module("ccm_pack.training.prepare").Batch
        Condition = importlib.import_module("ccm_pack.training.bases").Condition
        latents = base.encode_frames(frames)
        condition = Condition(
            tuple(base.encode_prompt(prompt, mask) for prompt, mask in zip(prompts, masks, strict=True)),
            (*(base.encode_mask(mask) for mask in masks[:-1]), None),
        )
        nerves = torch.nn.functional.avg_pool2d(masks, base.latent_px)
        return Batch(latents, condition, nerves, torch.arange(count) + 10 * seed)


@pytest.fixture(scope="session")
def families(host: Path, tmp_path_factory: pytest.TempPathFactory) -> Families:
    return Families(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def objective_config() -> Any:
    return SimpleNamespace(
        noise_level="logit-normal", mean=0.0, std=1.0, shift=3.0, min_snr_gamma=None, nerve_weight=2.0
    )


@pytest.fixture(scope="session")
def loras(host: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both loaders look for adapters."""
    folder = tmp_path_factory.mktemp("loras")
    importlib.import_module("folder_paths").add_model_folder_path("loras", str(folder))
    return folder
