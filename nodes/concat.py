"""CCM_NerveMaskConcat: the mask beside the noisy latent, for models with channels for it."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..ccm.control import MaskStyle, check_control_masks, check_masks_fit_latents, draw_masks
from ..ccm.errors import RouteError
from ..ccm.images import to_image, to_masks
from .mask_routes import OTHER_ROUTES, concat_kind, concat_values, with_values


class NerveMaskConcat(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_NerveMaskConcat",
            display_name="Nerve Mask Concat",
            category="CCM/generate",
            description=(
                "For models with input channels for a picture: inpainting models, instruct-pix2pix, Flux Fill, and "
                "Flux with a control LoRA. An inpainting model keeps the nerves and paints the rest."
            ),
            inputs=[
                io.Conditioning.Input(
                    "positive", tooltip="Positive conditioning, for example of DPN Prompt."
                ),
                io.Conditioning.Input(
                    "negative", tooltip="Negative conditioning, for example of DPN Prompt."
                ),
                io.Model.Input("model", tooltip="The model that is sampled; it says what it takes."),
                io.Vae.Input("vae", tooltip="Autoencoder of the base model; it encodes the mask."),
                io.Mask.Input("mask", tooltip="Nerve masks, one for each frame or one for all."),
                io.Combo.Input(
                    "style",
                    options=[style.value for style in MaskStyle],
                    default=MaskStyle.NERVES.value,
                    tooltip="The drawing that the model was trained on; a Flux canny control LoRA takes canny.",
                ),
                io.Latent.Input(
                    "latent", tooltip="The latents to be sampled; masks are checked against them."
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="positive", tooltip="Positive conditioning with the mask."
                ),
                io.Conditioning.Output(
                    display_name="negative", tooltip="Negative conditioning with the mask."
                ),
            ],
        )

    @classmethod
    def execute(cls, positive, negative, model, vae, mask, style, latent) -> io.NodeOutput:
        masks = to_masks(mask)
        check_control_masks(masks)
        check_masks_fit_latents(masks.shape, tuple(latent["samples"].shape))
        kind = concat_kind(model)
        if kind is None:
            raise RouteError("The model has no input channels for a picture", fix=OTHER_ROUTES)
        pictures = to_image(draw_masks(masks, MaskStyle(style)))
        values = concat_values(kind, vae, torch.from_numpy(masks), pictures)
        return io.NodeOutput(*(with_values(one, values) for one in (positive, negative)))
