"""CCM_NerveMaskReference: the mask as the picture that Qwen-Image-Edit edits."""

from __future__ import annotations

from comfy_api.latest import io

from ..ccm.cohorts import NEGATIVE_PROMPT, Cohort, clinical_prompt, parse_cohort
from ..ccm.control import check_control_masks, check_masks_are_frames, check_masks_fit_latents
from ..ccm.images import to_image, to_masks
from . import cohort_input
from .mask_routes import check_reference, encode_each, encode_seeing, with_values


class NerveMaskReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_NerveMaskReference",
            display_name="Nerve Mask Reference",
            category="CCM/generate",
            description=(
                "For Qwen-Image-Edit: the nerve mask as reference latent at the size of the frame, and the "
                "clinical prompt encoded with a look at the mask."
            ),
            inputs=[
                io.Combo.Input(
                    "cohort",
                    options=[c.value for c in Cohort],
                    default=Cohort.CONTROL.value,
                    tooltip="Control: healthy. T1NoDPN: type 1 diabetes alone. T1DPN: with neuropathy.",
                ),
                io.Clip.Input("clip", tooltip="Text encoder of Qwen-Image-Edit, which sees the mask."),
                io.Vae.Input("vae", tooltip="Autoencoder of Qwen-Image; it encodes the mask."),
                io.Mask.Input(
                    "mask", tooltip="Nerve masks of the frame's size, one for each frame or for all."
                ),
                io.Latent.Input(
                    "latent", tooltip="The latents to be sampled; masks are checked against them."
                ),
                io.String.Input(
                    "modifiers",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Words added to the prompt, such as: many dendritic cells, hazy background.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="Clinical prompt and mask."),
                io.Conditioning.Output(display_name="negative", tooltip="Negative prompt and the same mask."),
                io.String.Output(display_name="prompt", tooltip="The clinical prompt as text."),
            ],
        )

    @classmethod
    def validate_inputs(cls, cohort: str | None) -> bool | str:
        return cohort_input.validate(cohort)

    @classmethod
    def execute(cls, cohort: str, clip, vae, mask, latent, modifiers: str = "") -> io.NodeOutput:
        masks, latents = to_masks(mask), tuple(latent["samples"].shape)
        check_control_masks(masks)
        check_reference(vae)
        check_masks_fit_latents(masks.shape, latents)
        check_masks_are_frames(masks.shape, latents, vae.spacial_compression_encode())
        prompt, pictures = clinical_prompt(parse_cohort(cohort), modifiers), to_image(masks)
        seen = [encode_seeing(clip, text, pictures) for text in (prompt, NEGATIVE_PROMPT)]
        values = {"reference_latents": [encode_each(vae, pictures)]}
        return io.NodeOutput(*(with_values(one, values) for one in seen), prompt)
