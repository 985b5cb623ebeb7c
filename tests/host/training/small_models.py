"""Small random-weight models of the host's own classes, as files that the host's loaders read.

SD3-style models and TAESD and Wan autoencoders are detected at any size. SD1.5, Qwen-Image and Flux fix some
sizes in their detection, so a class of the same model with smaller numbers is registered for them, which a
marker key (or its unusual widths) selects. All contexts have the width of the embedded prompt encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

WIDTH = 192  # of contexts and pooled vectors
MARKER = "ccm_small"
UNET = {
    "image_size": 32,
    "use_checkpoint": False,
    "use_spatial_transformer": True,
    "legacy": False,
    "adm_in_channels": None,
    "in_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "use_linear_in_transformer": False,
    "context_dim": WIDTH,
    "num_heads": 4,
}
UNET_OUTPUT = {"out_channels": 4, "transformer_depth_output": [1, 1, 1, 1]}
QWEN = {
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "axes_dims_rope": (8, 12, 12),
    "joint_attention_dim": WIDTH,
}
FLUX = {"num_heads": 2, "axes_dim": [8, 12, 12]}


def register() -> None:
    """Let the host detect the small SD1.5, Qwen-Image and Flux; a second call does nothing."""
    from comfy import supported_models

    if any(getattr(model, "ccm_small", False) for model in supported_models.models):
        return

    class SmallSD15(supported_models.SD15):
        ccm_small = True
        unet_config = {**supported_models.SD15.unet_config, "context_dim": WIDTH, "model_channels": 32}
        unet_extra_config = {"num_heads": 4, "num_head_channels": -1}

    class SmallQwenImage(supported_models.QwenImage):
        ccm_small = True
        required_keys = {MARKER: None}
        unet_extra_config = QWEN

    class SmallFlux(supported_models.Flux):
        ccm_small = True
        required_keys = {MARKER: None}
        unet_extra_config = FLUX

    supported_models.models[:0] = [SmallSD15, SmallQwenImage, SmallFlux]


def unet(path: Path, seed: int = 0) -> Path:
    """Write an SD1.5-style UNet: 32 and 64 channels, one transformer per level."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    return _save(UNetModel(**UNET, **UNET_OUTPUT, **_where()), path, seed, scale=0.5)


def unet_control(path: Path, seed: int = 1) -> Path:
    """Write a control net for `unet`; its hint is the mask itself, not a latent."""
    from comfy.cldm.cldm import ControlNet

    return _save(ControlNet(**UNET, hint_channels=3, **_where()), path, seed)


def qwen_image(path: Path, seed: int = 0) -> Path:
    """Write a Qwen-Image transformer of two blocks."""
    from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel

    model = QwenImageTransformer2DModel(num_layers=2, **QWEN, **_where())
    return _save(model, path, seed, marker=True)


def qwen_control(path: Path, seed: int = 1) -> Path:
    """Write a control net of one block for `qwen_image`."""
    from comfy.ldm.qwen_image.controlnet import QwenImageControlNetModel

    return _save(QwenImageControlNetModel(num_layers=1, **QWEN, **_where()), path, seed, marker=True)


def flux(path: Path, seed: int = 0) -> Path:
    """Write a Flux of one double and two single blocks; queries, keys and values are fused."""
    from comfy.ldm.flux.model import Flux

    model = Flux(
        in_channels=16,
        out_channels=16,
        vec_in_dim=WIDTH,
        context_in_dim=WIDTH,
        hidden_size=64,
        mlp_ratio=4.0,
        depth=1,
        depth_single_blocks=2,
        theta=10000,
        patch_size=2,
        qkv_bias=True,
        guidance_embed=True,
        **FLUX,
        **_where(),
    )
    return _save(model, path, seed, marker=True)


def taesd(path: Path, channels: int, seed: int = 2) -> Path:
    """Write a TAESD autoencoder: 4 latent channels for SD1.5, 16 for SD3 and Flux."""
    from comfy.taesd.taesd import TAESD

    return _save(TAESD(latent_channels=channels), path, seed, scale=0.7)


def wan_vae(path: Path, seed: int = 2) -> Path:
    """Write a Wan 2.1 autoencoder, which Qwen-Image uses, of width 8."""
    from comfy.ldm.wan.vae import WanVAE

    shape: dict[str, Any] = {"dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": []}
    model = WanVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True], dropout=0.0, **shape)
    return _save(model, path, seed)


def _where() -> dict[str, Any]:
    import comfy.ops

    return {
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "operations": comfy.ops.disable_weight_init,
    }


def _save(model: torch.nn.Module, path: Path, seed: int, *, scale: float = 1.0, marker: bool = False) -> Path:
    """Save the model with random weights that keep activations near one."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: _random(name, weight, scale, generator)
        for name, weight in model.state_dict().items()
        if weight.is_floating_point()
    }
    if marker:
        state[MARKER] = torch.zeros(1)
    save_file(state, path)
    return path


def _random(name: str, like: torch.Tensor, scale: float, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(like.shape, generator=generator)
    if like.dim() > 1 and not name.endswith("gamma"):
        return noise * scale / like[0].numel() ** 0.5
    return 0.05 * noise if name.endswith("bias") else 1 + 0.1 * noise
