"""Frames to nerve masks."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..ccm.images import UM_PER_PX, to_grey
from ..ccm.segmentation import segment_nerves


class SegmentNerves(io.ComfyNode):
    """CCM_SegmentNerves."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_SegmentNerves",
            display_name="Segment Nerves",
            category="CCM/measure",
            description="Traces corneal nerves with the embedded network, trained on phantoms only.",
            inputs=[
                io.Image.Input("image", tooltip="Frames, real or generated."),
                io.Float.Input(
                    "um_per_px",
                    default=round(UM_PER_PX, 4),
                    min=0.0,
                    max=100.0,
                    step=0.0001,
                    tooltip="Pixel size in um; 1.0417 for an HRT3-RCM frame of 384 pixels and 400 um.",
                ),
            ],
            outputs=[
                io.Mask.Output(display_name="mask", tooltip="Nerve masks, 1 where nerve, one for each frame.")
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, um_per_px: float) -> io.NodeOutput:
        segmentation = segment_nerves(to_grey(image), um_per_px)
        return io.NodeOutput(torch.from_numpy(segmentation.mask.astype("float32")))
