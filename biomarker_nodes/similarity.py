"""CCM_PairedSimilarity: how alike frames are that were made from the same masks."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..ccm.fidelity.pair_summary import compare_pairs, describe, to_json
from ..ccm.images import to_grey
from ..nodes.newer_hosts import search_aliases


class PairedSimilarity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_PairedSimilarity",
            display_name="Paired Similarity",
            category="CCM/evaluate",
            description=(
                "SSIM, MS-SSIM and PSNR of frame pairs that share a mask, beside what mismatched pairs score."
            ),
            **search_aliases("SSIM", "PSNR"),
            inputs=[
                io.Image.Input(
                    "images_a", display_name="reference", tooltip="Real frames, in the order of their pairs."
                ),
                io.Image.Input(
                    "images_b",
                    display_name="generated",
                    tooltip="Generated frames: as many, of the same size, in the same order.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="Mean, deviation and lowest pair, as text."),
                io.String.Output(
                    display_name="json", tooltip="Every value of every pair, with the convention."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images_a: torch.Tensor, images_b: torch.Tensor) -> io.NodeOutput:
        report = compare_pairs(to_grey(images_a), to_grey(images_b))
        text = describe(report)
        return io.NodeOutput(text, to_json(report), ui=ui.PreviewText(text))
