"""The model families that can be adapted, and what is particular to each; everything else is the host's.

Module names are the host's. Adapters go on the attention and MLP layers of all blocks, and on convolutions where
a family has them; the embedded model, which is small, is adapted at its inputs and output too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ...ccm.guidance import GUIDED_BELOW

Route = Literal["control", "reference", "concat"]

MMDIT = r"joint_blocks\..*(qkv|proj|fc1|fc2|adaLN_modulation\.1)"
UNET = (
    r"((in|out)put_blocks\.\d+|middle_block)\.(.*\.)?"
    r"(to_[qkv]|to_out\.0|proj_in|proj_out|net\.0\.proj|net\.2|in_layers\.2|out_layers\.3|emb_layers\.1"
    r"|op|conv)"
)
UNET_BLOCKS = r"((in|out)put_blocks\.\d+|middle_block)\.\d+"
FLUX = (
    r"double_blocks\.\d+\.(img|txt)_(attn\.(qkv|proj)|mlp\.[02]|mod\.lin)"
    r"|single_blocks\.\d+\.(linear[12]|modulation\.lin)"
)
QWEN = (
    r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|(img|txt)_(mlp\.net\.(0\.proj|2)|mod\.1))"
)


@dataclass(frozen=True)
class Family:
    """One family: `host_class` in comfy.model_base, `clip_type` in comfy.sd.CLIPType.

    `mask` is how a mask conditions it without a control net; with one, it is always by control. Samples are guided
    below the noise level `guided_below`. `in_place` says that the host's blocks add in place to tensors that their
    norms need in backward.
    """

    name: str
    host_class: str
    clip_type: str
    targets: str
    blocks: str
    mask: Route = "control"
    text_sees_mask: bool = False
    sampler: str = "euler"
    scheduler: str = "simple"
    guided_below: float = math.inf
    in_place: bool = False


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "nano",
            "SD3",
            "SD3",
            MMDIT + r"|context_embedder|y_embedder\.mlp\.[02]|final_layer\.linear",
            r"joint_blocks\.\d+",
            sampler="dpmpp_2m",
            scheduler="beta",
            guided_below=GUIDED_BELOW,
        ),
        Family("sd15", "BaseModel", "STABLE_DIFFUSION", UNET, UNET_BLOCKS, scheduler="normal"),
        Family("sdxl", "SDXL", "STABLE_DIFFUSION", UNET, UNET_BLOCKS, scheduler="normal"),
        Family("sd35", "SD3", "SD3", MMDIT, r"joint_blocks\.\d+"),
        Family("flux", "Flux", "FLUX", FLUX, r"(double|single)_blocks\.\d+", in_place=True),
        Family("qwen-image", "QwenImage", "QWEN_IMAGE", QWEN, r"transformer_blocks\.\d+"),
        Family(
            "qwen-image-edit",
            "QwenImage",
            "QWEN_IMAGE",
            QWEN,
            r"transformer_blocks\.\d+",
            mask="reference",
            text_sees_mask=True,
        ),
    )
}
