"""CCM_PrepareNerveMask and CCM_GenerateNerveMask: nerve masks brought along, and nerve masks made."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..ccm.cohorts import Cohort
from ..ccm.images import FIELD_PX, to_image
from ..ccm.masks import WIDTH_PX, prepare_masks, read_drawings
from ..ccm.phantom.mask import LARGEST_PX
from ..ccm.phantom.request import CUSTOM, MOST_MASKS, MaskRequest, generate_masks
from ..ccm.phantom.tree import TreeTargets
from . import cohort_input
from .newer_hosts import search_aliases


class PrepareNerveMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_PrepareNerveMask",
            display_name="Prepare Nerve Mask",
            category="CCM/mask",
            description=(
                "Turns a drawn, traced or photographed nerve mask, dark on light or light on dark, into a "
                "clean mask with nerves of one width, at the size of the field."
            ),
            **search_aliases("clean mask", "tracing", "nerve drawing"),
            inputs=[
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The drawing as a picture. Connect this or mask, not both.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="The drawing as a mask. Connect this or image, not both."
                ),
                io.Float.Input(
                    "width",
                    default=WIDTH_PX,
                    min=1.0,
                    max=15.0,
                    step=0.5,
                    tooltip="Width in pixels that every nerve gets; the embedded model knows about 3.",
                ),
                io.Int.Input(
                    "field_size",
                    default=FIELD_PX,
                    min=64,
                    max=LARGEST_PX,
                    step=8,
                    tooltip="Pixels along one side of the 400 x 400 um field: 384 for an HRT3-RCM frame.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask", tooltip="The clean mask: 1 inside the nerves, 0 outside."
                ),
                io.Image.Output(display_name="control", tooltip="The same as a picture, white on black."),
            ],
        )

    @classmethod
    def execute(cls, width: float, field_size: int, image=None, mask=None) -> io.NodeOutput:
        masks = prepare_masks(read_drawings(image, mask), field_size, width)
        return io.NodeOutput(torch.from_numpy(masks), to_image(masks))


class GenerateNerveMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_GenerateNerveMask",
            display_name="Generate Nerve Mask",
            category="CCM/mask",
            description=(
                "Grows synthetic sub-basal nerve plexuses for a cohort or for biomarker targets, with the "
                "exact biomarkers of each."
            ),
            is_output_node=True,
            **search_aliases("nerve tree", "phantom", "cornea", "synthetic nerves"),
            inputs=[
                io.Combo.Input(
                    "cohort",
                    options=[*(cohort.value for cohort in Cohort), CUSTOM],
                    tooltip="The cohort to draw biomarkers from; custom takes only the targets below.",
                ),
                _target("cnfl", 50.0, "Nerve fibre length, mm/mm2, met within 5 %."),
                _target("cnfd", 75.0, "Main fibres per mm2, met to the whole fibre (6.25 per mm2)."),
                _target("cnbd", 150.0, "Branch points on main fibres per mm2, met to the whole point."),
                _target("tortuosity", 12.0, "Sideways wander of the fibres, um RMS: 3 is healthy, 8 strong."),
                io.Int.Input(
                    "count", default=1, min=1, max=MOST_MASKS, tooltip="Number of masks, all different."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The same seed and settings give the same masks.",
                ),
                io.Int.Input(
                    "size",
                    default=FIELD_PX,
                    min=64,
                    max=LARGEST_PX,
                    step=8,
                    tooltip="Pixels along one side of the 400 x 400 um field: 384 for an HRT3-RCM frame.",
                ),
                io.Float.Input(
                    "width",
                    default=WIDTH_PX,
                    min=0.0,
                    max=15.0,
                    step=0.5,
                    tooltip="Width in pixels of every nerve; 0 draws the nerves' own widths.",
                ),
            ],
            outputs=[
                io.Mask.Output(display_name="mask", tooltip="One mask per tree: 1 inside the nerves."),
                io.String.Output(display_name="truth", tooltip="The exact biomarkers of every tree, JSON."),
            ],
        )

    @classmethod
    def validate_inputs(cls, cohort: str | None) -> bool | str:
        return cohort == CUSTOM or cohort_input.validate(cohort)

    @classmethod
    def execute(
        cls, cohort: str, cnfl: float, cnfd: float, cnbd: float, tortuosity: float, count: int, seed: int,
        size: int, width: float,
    ) -> io.NodeOutput:  # fmt: skip
        targets = TreeTargets(cnfl, cnfd, cnbd, tortuosity)
        made = generate_masks(MaskRequest(cohort, targets, count, seed, size, width))
        masks = torch.from_numpy(made.masks)
        return io.NodeOutput(masks, made.truth_json, ui=ui.PreviewMask(masks))


def _target(name: str, most: float, meaning: str) -> io.Float.Input:
    tooltip = f"{meaning} 0 draws it from the cohort (with custom it means none)."
    return io.Float.Input(name, default=0.0, min=0.0, max=most, step=0.1, tooltip=tooltip)
