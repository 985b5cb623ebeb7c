"""Small random-weight models of the host's own classes, as files that the host's loaders read.

SD3-style models and TAESD and Wan autoencoders are detected at any size. SD1.5, SDXL, Qwen-Image and Flux fix some
sizes in their detection, so a class of the same model with smaller numbers is registered for them, which a
marker key (or its unusual widths) selects. All contexts have the width of the embedded prompt encoder. The host
reads the text encoder of Qwen-Image-Edit at full width only, so `seeing_clip` builds the host's own class smaller.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

WIDTH = 192  # of contexts and pooled vectors
MARKER = "ccm_small"
MARK = {MARKER: torch.zeros(1)}
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
XL_VECTOR = WIDTH + 6 * 256  # pooled prompt and six sizes
XL = {
    **UNET,
    "num_classes": "sequential",
    "adm_in_channels": XL_VECTOR,
    "use_linear_in_transformer": True,
    "transformer_depth": [0, 1],
    "num_heads": -1,
    "num_head_channels": 16,
}
XL_OUTPUT = {"out_channels": 4, "transformer_depth_output": [0, 0, 1, 1]}
SD35 = {
    "depth": 2,
    "in_channels": 16,
    "patch_size": 2,
    "adm_in_channels": WIDTH,
    "input_size": None,
    "qk_norm": "rms",
    "pos_embed_scaling_factor": None,
    "pos_embed_max_size": 32,
    "num_patches": 1024,
    "context_embedder_config": {
        "target": "torch.nn.Linear",
        "params": {"in_features": WIDTH, "out_features": 128},
    },
}
QWEN = {
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "axes_dims_rope": (8, 12, 12),
    "joint_attention_dim": WIDTH,
}
FLUX = {"num_heads": 2, "axes_dim": [8, 12, 12]}
FLUX_SHAPE = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": WIDTH,
    "context_in_dim": WIDTH,
    "hidden_size": 64,
    "mlp_ratio": 4.0,
    "depth": 1,
    "depth_single_blocks": 2,
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
}
VISION = {"hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "num_layers": 1}
LANGUAGE = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def register() -> None:
    """Let the host detect the small SD1.5, SDXL, Qwen-Image and Flux; a second call does nothing."""
    from comfy import supported_models

    if any(getattr(model, "ccm_small", False) for model in supported_models.models):
        return

    class SmallSD15(supported_models.SD15):
        ccm_small = True
        unet_config = {**supported_models.SD15.unet_config, "context_dim": WIDTH, "model_channels": 32}
        unet_extra_config = {"num_heads": 4, "num_head_channels": -1}

    class SmallPix2Pix(supported_models.SD15_instructpix2pix):
        ccm_small = True
        unet_config = {**SmallSD15.unet_config, "in_channels": 8}
        unet_extra_config = SmallSD15.unet_extra_config

    class SmallSDXL(supported_models.SDXL):
        ccm_small = True
        unet_config = {
            **{k: v for k, v in supported_models.SDXL.unet_config.items() if k != "transformer_depth"},
            "model_channels": 32,
            "context_dim": WIDTH,
            "adm_in_channels": XL_VECTOR,
        }
        unet_extra_config = {"num_heads": -1, "num_head_channels": 16}

    class SmallQwenImage(supported_models.QwenImage):
        ccm_small = True
        required_keys = {MARKER: None}
        unet_extra_config = QWEN

    class WideSDXL(SmallSDXL):
        unet_config = {**SmallSDXL.unet_config, "model_channels": 320}

    class SmallFlux(supported_models.Flux):
        ccm_small = True
        unet_config = {**supported_models.Flux.unet_config, "hidden_size": FLUX_SHAPE["hidden_size"]}
        unet_extra_config = FLUX

    class SmallFluxFill(SmallFlux):
        unet_config = {**SmallFlux.unet_config, "in_channels": 96}

    small = [SmallPix2Pix, SmallSD15, SmallSDXL, WideSDXL, SmallQwenImage, SmallFluxFill, SmallFlux]
    supported_models.models[:0] = small


def unet(path: Path, seed: int = 0, in_channels: int = 4) -> Path:
    """Write an SD1.5-style UNet: 32 and 64 channels, one transformer per level; with 9 channels it inpaints."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    shape: dict[str, Any] = {**UNET, **UNET_OUTPUT, "in_channels": in_channels}
    return _save(UNetModel(**shape, **_where()), path, seed, scale=0.5)


def unet_control(path: Path, seed: int = 1) -> Path:
    """Write a control net for `unet`; its hint is the mask itself, not a latent."""
    return _save(unet_control_model(UNET), path, seed)


def unet_control_model(shape: dict[str, Any], **more: Any) -> Any:
    """Return the host's control net of a UNet, `union_controlnet_num_control_type` among its options."""
    from comfy.cldm.cldm import ControlNet

    options: dict[str, Any] = {**shape, "hint_channels": 3, **more}
    return ControlNet(**options, **_where())


def control_lora(path: Path, seed: int = 1) -> Path:
    """Write a Control-LoRA for `unet`: layers of its own, and a low-rank change of one of the base's."""
    net = unet_control_model(UNET)
    own = ("input_hint_block.", "zero_convs.", "middle_block_out.")
    draw = torch.Generator().manual_seed(seed)
    state = {k: _random(k, v, 1.0, draw) for k, v in net.state_dict().items() if k.startswith(own)}
    layer = "middle_block.1.transformer_blocks.0.attn1.to_q"
    state[f"{layer}.up"] = 0.1 * torch.randn(64, 2, generator=draw)
    state[f"{layer}.down"] = 0.1 * torch.randn(2, 64, generator=draw)
    save_file({"lora_controlnet": torch.zeros(0), **state}, path)
    return path


def sdxl(path: Path, seed: int = 0, channels: int = 32) -> Path:
    """Write an SDXL-style UNet, with a pooled prompt and sizes; transformers on the lower level only."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    shape: dict[str, Any] = {**XL, **XL_OUTPUT, "model_channels": channels}
    return _save(UNetModel(**shape, **_where()), path, seed, scale=0.5)


def sdxl_union_model(seed: int = 1) -> Any:
    """Return the host's union control net for an `sdxl` of 320 channels, which is what union nets demand."""
    net = unet_control_model({**XL, "model_channels": 320}, union_controlnet_num_control_type=8)
    net.load_state_dict(_weights(net, seed))
    return net


def sdxl_control(path: Path, seed: int = 1) -> Path:
    """Write a control net for `sdxl`."""
    return _save(unet_control_model(XL), path, seed)


def sd35(path: Path, seed: int = 0) -> Path:
    """Write an SD3.5-style transformer of two blocks."""
    from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT

    return _save(MMDiT(**SD35, **_where()), path, seed)


def sd35_control(path: Path, seed: int = 1, latent_channels: int = 16) -> Path:
    """Write a control net of one block for `sd35`, in diffusers names; with 17 channels it inpaints."""
    from comfy.cldm.mmdit import ControlNet
    from comfy.utils import mmdit_to_diffusers

    net = ControlNet(num_blocks=1, control_latent_channels=latent_channels, **SD35, **_where())
    return _in_diffusers_names(net, mmdit_to_diffusers({"depth": 2, "num_blocks": 1}), path, seed)


def sd35_control_of_stability(path: Path, seed: int = 1) -> Path:
    """Write a canny control net for `sd35` as Stability AI does; its pooled prompts are 2048 wide, as in the host."""
    from comfy.cldm.dit_embedder import ControlNetEmbedder

    net = ControlNetEmbedder(
        img_size=None,  # pyright: ignore[reportArgumentType]  as the host does
        patch_size=2,
        in_chans=16,
        attention_head_dim=64,
        num_attention_heads=2,
        adm_in_channels=2048,
        num_layers=1,
        main_model_double=2,
        double_y_emb=False,
        **_where(),
    )
    return _save(net, path, seed, extra={"control_type": torch.tensor(1)})


def qwen_image(path: Path, seed: int = 0) -> Path:
    """Write a Qwen-Image transformer of two blocks."""
    from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel

    model = QwenImageTransformer2DModel(num_layers=2, **QWEN, **_where())
    return _save(model, path, seed, extra=MARK)


def qwen_control(path: Path, seed: int = 1, extra_channels: int = 0) -> Path:
    """Write a control net of one block for `qwen_image`; with 4 more channels it inpaints."""
    from comfy.ldm.qwen_image.controlnet import QwenImageControlNetModel

    options: dict[str, Any] = {"extra_condition_channels": extra_channels, "num_layers": 1, **QWEN}
    return _save(QwenImageControlNetModel(**options, **_where()), path, seed, extra=MARK)


def flux(path: Path, seed: int = 0, in_channels: int = 16) -> Path:
    """Write a Flux of one double and two single blocks; with 32 channels it takes a picture, with 96 it inpaints."""
    from comfy.ldm.flux.model import Flux

    shape: dict[str, Any] = {**FLUX_SHAPE, "in_channels": in_channels, **FLUX}
    return _save(Flux(**shape, **_where()), path, seed)


def flux_control_lora(path: Path, seed: int = 3) -> Path:
    """Write a control LoRA for `flux`, which widens its input to 32 channels."""
    draw = torch.Generator().manual_seed(seed)
    key = "diffusion_model.img_in"
    state = {f"{key}.lora_A.weight": torch.randn(4, 128, generator=draw) / 11}
    state[f"{key}.lora_B.weight"] = torch.randn(64, 4, generator=draw)
    state[f"{key}.reshape_weight"] = torch.tensor([64, 128])
    save_file(state, path)
    return path


def flux_control(path: Path, seed: int = 1, modes: int = 0) -> Path:
    """Write a control net of one double block for `flux`, in diffusers names; with `modes` it is a union net."""
    from comfy.utils import flux_to_diffusers

    net = _flux_control_model(latent_input=True, num_union_modes=modes, control_latent_channels=16)
    names = flux_to_diffusers({"depth": 1, "depth_single_blocks": 0, "hidden_size": 64})
    return _in_diffusers_names(net, names, path, seed)


def flux_control_of_xlabs(path: Path, seed: int = 1) -> Path:
    """Write a control net of one double block for `flux` that looks at the picture, in the host's own names."""
    return _save(_flux_control_model(), path, seed)


def _flux_control_model(**options: Any) -> Any:
    from comfy.ldm.flux.controlnet import ControlNetFlux

    shape: dict[str, Any] = {**FLUX_SHAPE, "depth_single_blocks": 0, **FLUX, **options}
    return ControlNetFlux(**shape, **_where())


def seeing_clip(seed: int = 4) -> Any:
    """Return a CLIP of the host's own Qwen2.5-VL class, which sees pictures, of one small layer each."""
    import comfy.sd
    from comfy.text_encoders import qwen_image as qwen
    from comfy.text_encoders.qwen_vl import Qwen2VLVisionTransformer

    class Target:
        params: dict[str, Any] = {}
        clip = qwen.te()
        tokenizer = qwen.QwenImageTokenizer

    model = comfy.sd.CLIP(
        Target, model_options={"qwen25_7b_model_config": {**LANGUAGE, "num_key_value_heads": 2}}
    )
    inner = model.cond_stage_model.qwen25_7b.transformer
    options: dict[str, Any] = {**VISION, "output_hidden_size": WIDTH, "dtype": torch.float32, "device": "cpu"}
    inner.visual = Qwen2VLVisionTransformer(**options, ops=model.cond_stage_model.qwen25_7b.operations)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in inner.named_parameters():
            weight.copy_(_random(name, weight, 1.0, generator))
    return model


def taesd(path: Path, channels: int, seed: int = 2) -> Path:
    """Write a TAESD autoencoder: 4 latent channels for SD1.5 and SDXL, 16 for SD3 and Flux."""
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


def _save(
    model: torch.nn.Module,
    path: Path,
    seed: int,
    *,
    scale: float = 1.0,
    extra: dict[str, torch.Tensor] | None = None,
) -> Path:
    """Save the model with random weights that keep activations near one."""
    save_file({**_weights(model, seed, scale), **(extra or {})}, path)
    return path


def _weights(model: torch.nn.Module, seed: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = model.state_dict().items()
    return {n: _random(n, w, scale, generator) for n, w in state if w.is_floating_point()}


def _in_diffusers_names(model: torch.nn.Module, names: dict[str, Any], path: Path, seed: int) -> Path:
    """Save the model by the names of diffusers, `names` being the host's own map of them; what it lacks is kept."""
    state = _weights(model, seed)
    out, renamed = {}, set()
    for name, target in names.items():
        key, rows = (target, None) if isinstance(target, str) else target[:2]
        if key in state:
            out[name] = (state[key] if rows is None else state[key].narrow(*rows)).contiguous()
            renamed.add(key)
    save_file({**{k: v for k, v in state.items() if k not in renamed}, **out}, path)
    return path


def _random(name: str, like: torch.Tensor, scale: float, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(like.shape, generator=generator)
    if like.dim() > 1 and not name.endswith("gamma"):
        return noise * scale / like[0].numel() ** 0.5
    return 0.05 * noise if name.endswith("bias") else 1 + 0.1 * noise
