"""CCM_SaveDataset: frames of a graph into a data set with the layout and manifest of `python . batch`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io, ui

from ..ccm.cohorts import Cohort
from ..ccm.dataset.folder import EYES
from ..ccm.dataset.from_graph import Origin, save_batch
from ..ccm.images import to_grey, to_masks


class SaveDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_SaveDataset",
            display_name="Save CCM Dataset",
            category="CCM/generate",
            description="Adds generated frames and their masks to a data set: files, manifest and table as `python . "
            "batch` writes them, ready for training and evaluation. Every file is marked as synthetic.",
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                io.Image.Input("images", tooltip="Generated frames, square; a side is one field of 400 um."),
                io.Mask.Input(
                    "masks", optional=True, tooltip="Their nerve masks, one for each frame or one for all."
                ),
                io.String.Input(
                    "folder",
                    default="ccm_dataset",
                    tooltip="Folder of the data set, inside ComfyUI's output folder; it grows with every run.",
                ),
                io.Combo.Input(
                    "cohort",
                    options=[cohort.value for cohort in Cohort],
                    tooltip="The cohort that the frames were made for.",
                ),
                io.String.Input(
                    "patient",
                    default="SYN0001",
                    tooltip="An invented patient, letters and digits; keep real names out. "
                    "Empty: each frame gets a new one.",
                ),
                io.Combo.Input("eye", options=list(EYES), tooltip="OD is the right eye, OS the left."),
            ],
            outputs=[
                io.String.Output(
                    display_name="folder", tooltip="Where the data set lies; Load Frames reads it."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, images: torch.Tensor, folder: str, cohort: str, patient: str, eye: str, masks: Any = None
    ) -> io.NodeOutput:
        root = folder_paths.get_save_image_path(f"{folder}/x", folder_paths.get_output_directory())[0]
        frames = to_grey(images)
        drawn = None if masks is None else to_masks(masks)
        extra: dict[str, Any] = cls.hidden.extra_pnginfo or {}
        graph = {"prompt": cls.hidden.prompt, **extra}
        told = {key: json.dumps(value) for key, value in graph.items() if value is not None}
        saved = save_batch(Path(root), Origin(cohort, patient, eye, told), frames, drawn)
        text = f"{saved.added} frames added, {saved.total} in all; synthetic, not for clinical use\n{root}"
        return io.NodeOutput(root, ui=ui.PreviewText(text))
