"""The sizes of the published bases, as the host detects them, so that memory can be planned without their files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_UNET = {
    "image_size": 32,
    "use_checkpoint": False,
    "use_spatial_transformer": True,
    "legacy": False,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
}
_QWEN = {"image_model": "qwen_image", "in_channels": 64, "num_layers": 60}


@dataclass(frozen=True)
class Size:
    """`model` is a class of comfy.supported_models, `shape` its unet_config.

    `control_net` is the number of parameters of the published control net that the configuration names, from the
    size of its file; `text` is tokens and width of a clinical prompt, `pooled` the width of its pooled vector.
    """

    model: str
    shape: dict[str, Any]
    text: tuple[int, int]
    pooled: int = 0
    control_net: float = 0.0


SIZES = {
    "sd15": Size(
        "SD15",
        {
            **_UNET,
            "adm_in_channels": None,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": [1, 2, 4, 4],
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_output": [1] * 9 + [0] * 3,
            "transformer_depth_middle": 1,
            "use_linear_in_transformer": False,
            "context_dim": 768,
            "num_heads": 8,
            "num_head_channels": -1,
        },
        (77, 768),
        control_net=0.36e9,
    ),
    "sdxl": Size(
        "SDXL",
        {
            **_UNET,
            "num_classes": "sequential",
            "adm_in_channels": 2816,
            "num_res_blocks": [2, 2, 2],
            "channel_mult": [1, 2, 4],
            "transformer_depth": [0, 0, 2, 2, 10, 10],
            "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
            "transformer_depth_middle": 10,
            "use_linear_in_transformer": True,
            "context_dim": 2048,
            "num_heads": -1,
            "num_head_channels": 64,
        },
        (77, 2048),
        2816,
        control_net=1.25e9,
    ),
    "sd35": Size(
        "SD3",
        {
            "in_channels": 16,
            "patch_size": 2,
            "out_channels": 16,
            "depth": 38,
            "input_size": None,
            "adm_in_channels": 2048,
            "context_embedder_config": {
                "target": "torch.nn.Linear",
                "params": {"in_features": 4096, "out_features": 2432},
            },
            "num_patches": 36864,
            "pos_embed_max_size": 192,
            "qk_norm": "rms",
            "pos_embed_scaling_factor": None,
            "x_block_self_attn_layers": [],
        },
        (231, 4096),
        2048,
        control_net=4.3e9,
    ),
    "flux": Size(
        "Flux",
        {
            "image_model": "flux",
            "in_channels": 16,
            "out_channels": 16,
            "vec_in_dim": 768,
            "context_in_dim": 4096,
            "hidden_size": 3072,
            "mlp_ratio": 4.0,
            "num_heads": 24,
            "depth": 19,
            "depth_single_blocks": 38,
            "axes_dim": [16, 56, 56],
            "theta": 10000,
            "patch_size": 2,
            "qkv_bias": True,
            "guidance_embed": True,
        },
        (256, 4096),
        768,
        control_net=3.3e9,
    ),
    "qwen-image": Size("QwenImage", _QWEN, (64, 3584), control_net=1.8e9),
    "qwen-image-edit": Size("QwenImage", _QWEN, (272, 3584)),
}
