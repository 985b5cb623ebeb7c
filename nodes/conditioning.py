"""Conditioning by a clinical prompt and by a nerve mask."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..ccm.cohorts import NEGATIVE_PROMPT, Cohort, clinical_prompt, parse_cohort
from ..ccm.control import MaskStyle, check_control_masks, check_masks_fit_latents, draw_masks
from ..ccm.images import to_image, to_masks
from . import cohort_input
from .mask_routes import check_control_net, in_style, kept_by_inpainting


class DPNPrompt(io.ComfyNode):
    """CCM_DPNPrompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_DPNPrompt",
            display_name="DPN Prompt",
            category="CCM/generate",
            description="Writes the clinical prompt of a diabetic-neuropathy cohort and encodes it.",
            inputs=[
                io.Combo.Input(
                    "cohort",
                    options=[c.value for c in Cohort],
                    default=Cohort.CONTROL.value,
                    tooltip="Control: healthy. T1NoDPN: type 1 diabetes alone. T1DPN: with neuropathy.",
                ),
                io.Clip.Input("clip", tooltip="Prompt encoder of the base model."),
                io.String.Input(
                    "modifiers",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Words added to the prompt, such as: many dendritic cells, hazy background.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The encoded clinical prompt."),
                io.Conditioning.Output(display_name="negative", tooltip="The encoded negative prompt."),
                io.String.Output(display_name="prompt", tooltip="The clinical prompt as text."),
            ],
        )

    @classmethod
    def validate_inputs(cls, cohort: str | None) -> bool | str:
        return cohort_input.validate(cohort)

    @classmethod
    def execute(cls, cohort: str, clip, modifiers: str = "") -> io.NodeOutput:
        prompt = clinical_prompt(parse_cohort(cohort), modifiers)
        positive, negative = (
            clip.encode_from_tokens_scheduled(clip.tokenize(t)) for t in (prompt, NEGATIVE_PROMPT)
        )
        return io.NodeOutput(positive, negative, prompt)


class ApplyNerveMaskControl(io.ComfyNode):
    """CCM_ApplyNerveMaskControl."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_ApplyNerveMaskControl",
            display_name="Apply Nerve Mask Control",
            category="CCM/generate",
            description=(
                "Makes a control net of the host place the nerves where the mask has them, drawn as the net expects."
            ),
            inputs=[
                io.Conditioning.Input(
                    "positive", tooltip="Positive conditioning, for example of DPN Prompt."
                ),
                io.Conditioning.Input(
                    "negative", tooltip="Negative conditioning, for example of DPN Prompt."
                ),
                io.ControlNet.Input(
                    "control_net", tooltip="Control net of the base, for example of Load CCM Nano."
                ),
                io.Mask.Input("mask", tooltip="Nerve masks, one for each frame or one for all."),
                io.Vae.Input("vae", tooltip="Autoencoder of the base model; it encodes the mask."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly the mask acts; 1 is as trained.",
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the sampling after which the mask acts.",
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the sampling after which it stops acting.",
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="The latents to be sampled. When connected, masks are checked against them.",
                ),
                io.Combo.Input(
                    "style",
                    options=[style.value for style in MaskStyle],
                    default=MaskStyle.NERVES.value,
                    optional=True,
                    tooltip="The drawing that the control net was trained on; union nets are told.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The model to be sampled. When connected, the control net is checked against it.",
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
    def execute(
        cls, positive, negative, control_net, mask, vae, strength, start, end, latent=None,
        style=MaskStyle.NERVES.value, model=None,
    ) -> io.NodeOutput:  # fmt: skip
        from nodes import ControlNetApplyAdvanced  # the host's  # pyright: ignore[reportAttributeAccessIssue]

        masks = to_masks(mask)
        check_control_masks(masks)
        if latent is not None:
            check_masks_fit_latents(masks.shape, tuple(latent["samples"].shape))
        check_control_net(control_net, positive, vae, len(masks), model)
        net = in_style(control_net, MaskStyle(style))
        picture, kept = (
            to_image(draw_masks(masks, MaskStyle(style))),
            kept_by_inpainting(net, torch.from_numpy(masks)),
        )
        timing = (strength, start, end)
        apply = ControlNetApplyAdvanced().apply_controlnet
        return io.NodeOutput(*apply(positive, negative, net, picture, *timing, vae=vae, extra_concat=kept))
