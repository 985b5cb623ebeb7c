"""Frames to nerve masks, and how far each frame can be trusted."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..ccm.errors import NetworkError
from ..ccm.images import UM_PER_PX, to_grey
from ..ccm.quality import describe, to_json
from ..ccm.segmentation import segment_nerves
from ..nodes.newer_hosts import search_aliases
from . import segmenters


def _image() -> io.Image.Input:
    return io.Image.Input("image", tooltip="Frames, real or generated.")


def _um_per_px() -> io.Float.Input:
    return io.Float.Input(
        "um_per_px",
        default=round(UM_PER_PX, 4),
        min=0.0,
        max=100.0,
        step=0.0001,
        tooltip="Pixel size in um; 1.0417 for an HRT3-RCM frame of 384 pixels and 400 um.",
    )


class SegmentNerves(io.ComfyNode):
    """CCM_SegmentNerves."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_SegmentNerves",
            display_name="Segment Nerves",
            category="CCM/measure",
            description="Traces corneal nerves with the embedded network, trained on phantoms only, or your own.",
            is_output_node=True,
            **search_aliases("trace nerves", "nerve mask", "cornea"),
            inputs=[
                _image(),
                _um_per_px(),
                io.Combo.Input(
                    "network",
                    options=segmenters.names(),
                    default=segmenters.EMBEDDED,
                    optional=True,
                    tooltip=(
                        f"The embedded network, or an ONNX or TorchScript file in models/{segmenters.FOLDER}. "
                        "A TorchScript file is a program: use one only from people you trust."
                    ),
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask", tooltip="Nerve masks, 1 where nerve, one for each frame."
                ),
                io.String.Output(
                    display_name="quality",
                    tooltip="What speaks against each frame, if anything does, as text.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, network: str | None = segmenters.EMBEDDED) -> bool | str:
        if network is None:  # linked from another node, so not known yet
            return True
        try:
            segmenters.path(network)
        except NetworkError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, network: str | None = segmenters.EMBEDDED, **_: object) -> str:
        file = None if network is None else segmenters.path(network)
        return segmenters.EMBEDDED if file is None else f"{file.stat().st_mtime_ns} {file.stat().st_size}"

    @classmethod
    def execute(
        cls, image: torch.Tensor, um_per_px: float, network: str = segmenters.EMBEDDED
    ) -> io.NodeOutput:
        found = segment_nerves(to_grey(image), um_per_px, segmenters.load(network))
        quality = describe(found.quality)
        mask = torch.from_numpy(found.mask.astype("float32"))
        return io.NodeOutput(mask, quality, ui=ui.PreviewText(quality))


class FrameQuality(io.ComfyNode):
    """CCM_FrameQuality."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_FrameQuality",
            display_name="Frame Quality",
            category="CCM/measure",
            description="Flags frames that should not be measured: no nerves, out of plane, blurred, saturated, "
            "pressure lines.",
            is_output_node=True,
            **search_aliases("blur", "out of focus"),
            inputs=[_image(), _um_per_px()],
            outputs=[
                io.String.Output(display_name="report", tooltip="One line per frame: fit, or what is wrong."),
                io.String.Output(
                    display_name="json", tooltip="Reasons and measures of every frame, as JSON."
                ),
                io.Int.Output(display_name="usable", tooltip="How many frames are fit to be measured."),
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, um_per_px: float) -> io.NodeOutput:
        quality = segment_nerves(to_grey(image), um_per_px).quality
        text = describe(quality)
        return io.NodeOutput(text, to_json(quality), sum(q.usable for q in quality), ui=ui.PreviewText(text))
