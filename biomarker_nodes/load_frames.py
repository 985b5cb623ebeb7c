"""Frames on disk to a batch, with patient, eye and cohort."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..ccm.errors import CCMError
from ..ccm.frames.batch import load_batch, to_json
from ..ccm.frames.listing import read_records
from ..ccm.images import to_image
from ..nodes.newer_hosts import search_aliases

MOST_FRAMES = 4096


class LoadFrames(io.ComfyNode):
    """CCM_LoadFrames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_LoadFrames",
            display_name="Load Frames",
            category="CCM/measure",
            description="Loads the frames of a folder or of a CSV table with patient, eye and cohort, as one batch.",
            **search_aliases("load folder", "DICOM", "TIFF", "microscopy"),
            inputs=[
                io.String.Input(
                    "path",
                    default="",
                    tooltip="A folder of frames, a CSV table with a column frame, or one picture.",
                ),
                io.Int.Input(
                    "first",
                    default=0,
                    min=0,
                    max=10**6,
                    tooltip="Number of the first frame to load; 0 is the first.",
                ),
                io.Int.Input(
                    "count", default=64, min=1, max=MOST_FRAMES, tooltip="How many frames to load at most."
                ),
                io.Float.Input(
                    "um_per_px",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.0001,
                    tooltip="Pixel size in um; 0 takes it from the table or layout, else 400 um over a square frame.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The frames, one batch."),
                io.Float.Output(display_name="um_per_px", tooltip="Pixel size of the frames in um."),
                io.String.Output(
                    display_name="records",
                    tooltip="File name, patient, eye and cohort of each frame, as JSON.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, path: str | None, um_per_px: float | None = 0.0) -> bool | str:
        if path is None:  # linked from another node, so not known yet
            return True
        try:
            read_records(Path(path), um_per_px=um_per_px or None)
        except CCMError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, path: str | None, **_: object) -> str:
        if path is None:
            return ""
        files = [record.frame for record in read_records(Path(path), um_per_px=1.0)]
        return " ".join(f"{file.stat().st_mtime_ns}" for file in files if file.is_file())

    @classmethod
    def execute(cls, path: str, first: int, count: int, um_per_px: float) -> io.NodeOutput:
        batch = load_batch(Path(path), first, count, um_per_px or None)
        return io.NodeOutput(to_image(batch.frames), batch.um_per_px, to_json(batch))
