"""The foundation models that CCM frames are made with: their weight files, who publishes them, their licences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .control import MaskStyle
from .errors import WeightsError

FOLDERS = {  # of ComfyUI's models, by part
    "checkpoint": "checkpoints",
    "diffusion_model": "diffusion_models",
    "text_encoder": "text_encoders",
    "vae": "vae",
    "control_net": "controlnet",
}


@dataclass(frozen=True)
class Weight:
    """A file: what it is (a key of FOLDERS), the names that it goes by, the first one as published, and its source.

    `source` names publisher and collection, and the file there where that has another name.
    """

    part: str
    names: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Foundation:
    """A base model: its family in the trainer, its files, its licence, and how it takes a nerve mask.

    `clip_type` is that of ComfyUI's text encoder loaders; "" where the checkpoint holds the text encoder.
    `style` is the drawing that the control net named here was trained on.
    """

    name: str
    family: str
    licence: str
    clip_type: str
    weights: tuple[Weight, ...]
    style: MaskStyle | None = None


_CLIP_L = Weight("text_encoder", ("clip_l.safetensors",), "comfyanonymous/flux_text_encoders")
_T5 = Weight(
    "text_encoder",
    ("t5xxl_fp16.safetensors", "t5xxl_fp8_e4m3fn_scaled.safetensors", "t5xxl_fp8_e4m3fn.safetensors"),
    "comfyanonymous/flux_text_encoders",
)
_QWEN_TEXT = Weight(
    "text_encoder",
    ("qwen_2.5_vl_7b.safetensors", "qwen_2.5_vl_7b_fp8_scaled.safetensors"),
    "Comfy-Org/Qwen-Image_ComfyUI",
)
_QWEN_VAE = Weight("vae", ("qwen_image_vae.safetensors",), "Comfy-Org/Qwen-Image_ComfyUI")

FOUNDATIONS = {
    one.name: one
    for one in (
        Foundation(
            "Qwen-Image-Edit",
            "qwen-image-edit",
            "Apache-2.0",
            "QWEN_IMAGE",
            (
                Weight(
                    "diffusion_model",
                    ("qwen_image_edit_bf16.safetensors", "qwen_image_edit_fp8_e4m3fn.safetensors"),
                    "Comfy-Org/Qwen-Image-Edit_ComfyUI",
                ),
                _QWEN_TEXT,
                _QWEN_VAE,
            ),
        ),
        Foundation(
            "Qwen-Image",
            "qwen-image",
            "Apache-2.0",
            "QWEN_IMAGE",
            (
                Weight(
                    "diffusion_model",
                    ("qwen_image_bf16.safetensors", "qwen_image_fp8_e4m3fn.safetensors"),
                    "Comfy-Org/Qwen-Image_ComfyUI",
                ),
                _QWEN_TEXT,
                _QWEN_VAE,
                Weight(
                    "control_net",
                    ("Qwen-Image-InstantX-ControlNet-Union.safetensors",),
                    "Comfy-Org/Qwen-Image-InstantX-ControlNets",
                ),
            ),
            MaskStyle.SOFT_EDGE,
        ),
        Foundation(
            "SD3.5 large",
            "sd35",
            "Stability AI Community License",
            "SD3",
            (
                Weight("checkpoint", ("sd3.5_large.safetensors",), "stabilityai/stable-diffusion-3.5-large"),
                _CLIP_L,
                Weight("text_encoder", ("clip_g.safetensors",), "Comfy-Org/stable-diffusion-3.5-fp8"),
                _T5,
                Weight(
                    "control_net",
                    ("sd3.5_large_controlnet_canny.safetensors",),
                    "stabilityai/stable-diffusion-3.5-controlnets",
                ),
            ),
            MaskStyle.CANNY,
        ),
        Foundation(
            "SDXL",
            "sdxl",
            "CreativeML Open RAIL++-M",
            "",
            (
                Weight(
                    "checkpoint",
                    ("sd_xl_base_1.0.safetensors",),
                    "stabilityai/stable-diffusion-xl-base-1.0",
                ),
                Weight(
                    "vae",
                    ("sdxl_vae_fp16_fix.safetensors",),
                    "madebyollin/sdxl-vae-fp16-fix, file sdxl_vae.safetensors",
                ),
                Weight(
                    "control_net",
                    ("controlnet-scribble-sdxl-1.0.safetensors",),
                    "xinsir/controlnet-scribble-sdxl-1.0, file diffusion_pytorch_model.safetensors",
                ),
            ),
            MaskStyle.SCRIBBLE,
        ),
        Foundation(
            "SD1.5",
            "sd15",
            "CreativeML OpenRAIL-M",
            "",
            (
                Weight(
                    "checkpoint",
                    ("v1-5-pruned-emaonly.safetensors", "v1-5-pruned-emaonly-fp16.safetensors"),
                    "Comfy-Org/stable-diffusion-v1-5-archive",
                ),
                Weight(
                    "control_net",
                    ("control_v11p_sd15_scribble_fp16.safetensors", "control_v11p_sd15_scribble.safetensors"),
                    "comfyanonymous/ControlNet-v1-1_fp16_safetensors",
                ),
            ),
            MaskStyle.SCRIBBLE,
        ),
        Foundation(
            "Flux dev",
            "flux",
            "FLUX.1 [dev] Non-Commercial License",
            "FLUX",
            (
                Weight("diffusion_model", ("flux1-dev.safetensors",), "black-forest-labs/FLUX.1-dev"),
                _CLIP_L,
                _T5,
                Weight("vae", ("ae.safetensors",), "black-forest-labs/FLUX.1-dev"),
                Weight(
                    "control_net",
                    ("flux1-dev-controlnet-union.safetensors",),
                    "InstantX/FLUX.1-dev-Controlnet-Union, file diffusion_pytorch_model.safetensors",
                ),
            ),
            MaskStyle.CANNY,
        ),
    )
}


def find_weights(
    weights: Sequence[Weight],
    look: Callable[[Weight, str], Path | None],
    folders: Callable[[Weight], Sequence[str]],
) -> dict[str, list[Path]]:
    """Return the files by part, each under the first of its names that `look` finds.

    Raises WeightsError naming every file that is missing, the folder that it belongs into, and where to get it.
    """
    found: dict[str, list[Path]] = {}
    missing = []
    for weight in weights:
        paths = [path for name in weight.names if (path := look(weight, name)) is not None]
        if paths:
            found.setdefault(weight.part, []).append(paths[0])
        else:
            missing.append(f"{weight.names[0]} (of {weight.source}) in {' or '.join(folders(weight))}")
    if missing:
        raise WeightsError(
            f"{len(missing)} weight file{'s are' if len(missing) > 1 else ' is'} missing: {'; '.join(missing)}",
            fix="get each from the collection named, put it into its folder under this name, and refresh the page",
        )
    return found


def source_of(name: str) -> str:
    """Return where a file of this name is published, or nothing if it is not in the table."""
    weights = (weight for one in FOUNDATIONS.values() for weight in one.weights)
    return next((weight.source for weight in weights if Path(name).name in weight.names), "")
