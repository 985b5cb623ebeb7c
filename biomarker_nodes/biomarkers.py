"""Nerve masks to biomarkers."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from ..ccm.images import UM_PER_PX, to_grey, to_image, to_masks
from ..ccm.morphometry.biomarkers import measure_batch
from ..ccm.morphometry.overlay import backgrounds, draw_overlay
from ..ccm.morphometry.report import to_json, to_table
from ..nodes.newer_hosts import search_aliases
from .display import PreviewTable


class NerveBiomarkers(io.ComfyNode):
    """CCM_NerveBiomarkers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_NerveBiomarkers",
            display_name="Nerve Biomarkers",
            category="CCM/measure",
            description="Measures corneal nerve fibre length, density, branching, width and tortuosity of nerve masks.",
            is_output_node=True,
            **search_aliases("CNFL", "CNFD", "CNBD", "nerve density", "tortuosity", "measure nerves"),
            inputs=[
                io.Mask.Input("mask", tooltip="Nerve masks, above 0.5 where nerve, one for each frame."),
                io.Float.Input(
                    "um_per_px",
                    default=round(UM_PER_PX, 4),
                    min=0.0,
                    max=100.0,
                    step=0.0001,
                    tooltip="Pixel size in um; 1.0417 for an HRT3-RCM frame of 384 pixels and 400 um.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="Frames to draw the overlay on: as many as masks, or one, of the masks' size.",
                ),
                io.Mask.Input(
                    "field_of_view",
                    optional=True,
                    tooltip="What was seen of the frames, above 0.5, for round or cropped fields and mosaics: "
                    "one, or one for each mask. Nothing else counts, as nerve or as area.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="table", tooltip="One row per frame, as text."),
                io.String.Output(
                    display_name="json", tooltip="All values with units, tool and version, as JSON."
                ),
                io.Image.Output(
                    display_name="overlay",
                    tooltip="Main fibres in orange, branches in blue, branch points as yellow rings.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        mask: torch.Tensor,
        um_per_px: float,
        image: torch.Tensor | None = None,
        field_of_view: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        masks = to_masks(mask)
        fields = None if field_of_view is None else to_masks(field_of_view)
        frames = measure_batch(masks, um_per_px, fields)
        behind = backgrounds(masks, None if image is None else to_grey(image))
        drawn = [draw_overlay(grey, frame, um_per_px) for grey, frame in zip(behind, frames, strict=True)]
        table = to_table(frames)
        outputs = table.text(), to_json(frames, um_per_px), to_image(np.stack(drawn))
        return io.NodeOutput(*outputs, ui=PreviewTable(table))
