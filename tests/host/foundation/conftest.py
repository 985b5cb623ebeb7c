"""Small base models of every family with all their control nets, loaded by the host's own loaders."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "training"))
import small_models  # noqa: E402

SIDE = 64
FP32 = {"dtype": torch.float32}


class Studio:
    """Models, autoencoders and control nets of small random weights, made once each, and what is sampled with them."""

    def __init__(self, comfy: Path, folder: Path) -> None:
        sys.path.insert(0, str(comfy))
        importlib.import_module("comfy.cli_args").args.cpu = True
        small_models.register()
        self.folder = folder
        self.sd: Any = importlib.import_module("comfy.sd")
        self.controlnet: Any = importlib.import_module("comfy.controlnet")
        self.utils: Any = importlib.import_module("comfy.utils")
        self.host: Any = importlib.import_module("nodes")
        self._made: dict[Any, Any] = {}

    def file(self, maker: str, **options: Any) -> Path:
        """Write a file by a function of small_models."""
        key = (maker, *options.items())
        if key not in self._made:
            name = "_".join(map(str, (maker, *options.values())))
            self._made[key] = getattr(small_models, maker)(self.folder / f"{name}.safetensors", **options)
        return self._made[key]

    def model(self, maker: str, **options: Any) -> Any:
        return self.sd.load_diffusion_model(str(self.file(maker, **options)), model_options=FP32)

    def control(self, maker: str, **options: Any) -> Any:
        return self.controlnet.load_controlnet(str(self.file(maker, **options)), model_options=FP32)

    def vae(self, channels: int) -> Any:
        """Return the autoencoder of SD1.5 and SDXL (4), SD3.5 and Flux (16), or Qwen-Image (0)."""
        file = self.file("taesd", channels=channels) if channels else self.file("wan_vae")
        return self.sd.VAE(sd=self.utils.load_torch_file(str(file)))

    def clip(self, sees: bool = False) -> Any:
        """Return the embedded prompt encoder, or a text encoder that looks at pictures."""
        if ("clip", sees) not in self._made:
            nano = importlib.import_module("ccm_pack.nodes.nano").LoadNano.execute().result[1]
            self._made["clip", sees] = small_models.seeing_clip() if sees else nano
        return self._made["clip", sees]

    def prompts(self) -> tuple[Any, Any]:
        """Return the clinical and the negative prompt as DPN Prompt gives them."""
        node = importlib.import_module("ccm_pack.nodes.conditioning").DPNPrompt
        return node.execute("T1DPN", self.clip()).result[:2]

    def latent(self, vae: Any, count: int = 1) -> dict[str, torch.Tensor]:
        film = (1,) if vae.latent_dim == 3 else ()
        return {"samples": torch.zeros(count, vae.latent_channels, *film, SIDE // 8, SIDE // 8)}

    def sample(self, model: Any, positive: Any, negative: Any, latent: Any) -> torch.Tensor:
        """Return what two steps of the host's own sampler make."""
        sampled = self.host.common_ksampler(model, 5, 2, 3.0, "euler", "simple", positive, negative, latent)
        return sampled[0]["samples"]


def mask(number: int) -> torch.Tensor:
    """Return mask [1,64,64] number 0 or 1: a line of three pixels, down or across."""
    lines = torch.zeros(1, SIDE, SIDE)
    lines[:, :, 20:23] = 1
    return lines if number == 0 else lines.mT


@pytest.fixture(scope="session")
def studio(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(comfy, tmp_path_factory.mktemp("studio"))


@pytest.fixture
def masks() -> list[torch.Tensor]:
    return [mask(0), mask(1)]
