"""CCM_FindCopies: which generated frames repeat a training frame."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..ccm.fidelity.copies import describe, find_copies, frames_seen, sheet, to_json
from ..ccm.fidelity.features import NERVE_ENCODER
from ..ccm.images import to_grey, to_image
from ..nodes.newer_hosts import search_aliases
from . import extractors


class FindCopies(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_FindCopies",
            display_name="Find Copies",
            category="CCM/evaluate",
            description=(
                "Finds generated frames that copy a training frame, turned or mirrored ones too, and shows each "
                "beside its nearest training frame."
            ),
            **search_aliases("memorisation", "nearest neighbour", "duplicates"),
            inputs=[
                io.Image.Input("generated", tooltip="Generated frames, 2 or more."),
                io.Image.Input("training", tooltip="The real frames that the generator was trained on."),
                io.Image.Input(
                    "heldout",
                    tooltip="Real frames of other patients, for a usable threshold 100 or more.",
                ),
                io.Combo.Input(
                    "extractor",
                    options=extractors.names(),
                    default=NERVE_ENCODER,
                    tooltip="The network whose features are compared; the embedded one finds copies best.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="report", tooltip="The suspects, and how many chance would flag."
                ),
                io.String.Output(
                    display_name="json", tooltip="Ratio and nearest training frame of every frame."
                ),
                io.Image.Output(
                    display_name="sheet",
                    tooltip="The 12 most suspicious frames beside their nearest neighbours.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, extractor: str | None) -> bool | str:
        return extractors.validate(extractor)

    @classmethod
    def fingerprint_inputs(cls, extractor: str | None, **_: object) -> str:
        return extractors.fingerprint(extractor)

    @classmethod
    def execute(
        cls, generated: torch.Tensor, training: torch.Tensor, heldout: torch.Tensor, extractor: str
    ) -> io.NodeOutput:
        from comfy.utils import ProgressBar

        fresh, known, other = to_grey(generated), to_grey(training), to_grey(heldout)
        network = extractors.load(extractor)
        progress = ProgressBar(frames_seen(network, len(fresh), len(known), len(other)))
        report = find_copies(fresh, known, other, network, progress.update)
        text = describe(report)
        shown = to_image(sheet(report, fresh, known))
        return io.NodeOutput(text, to_json(report), shown, ui=ui.PreviewText(text))
