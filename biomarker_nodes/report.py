"""CCM_Report: real frames against generated ones, all three pillars, as one HTML page."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..ccm.equivalence.margins import parse_margins
from ..ccm.fidelity.features import NERVE_ENCODER
from ..ccm.images import to_grey, to_image
from ..ccm.report.batch import labelled
from ..ccm.report.evaluation import Provenance, Settings, evaluate, frames_seen, program_versions
from ..ccm.report.figures import as_batch, draw_figures
from ..ccm.report.output import describe, to_json
from ..ccm.report.page import to_html
from ..ccm.statistics.equivalence import Design
from . import extractors
from .equivalence import row_inputs
from .fidelity import LARGEST_SEED
from .saving import save

MADE_BY = "ComfyUI: the graph with the node Evaluation Report (CCM_Report)"


class Report(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_Report",
            display_name="Evaluation Report",
            category="CCM/evaluate",
            description=(
                "Compares real and generated frames: distance with its floor, biomarker equivalence, copies. Saves "
                "one HTML page and its numbers, and says what cannot be concluded."
            ),
            inputs=[
                io.Image.Input("real_frames", tooltip="Real frames, 2 or more; better 100 or more."),
                io.Image.Input("generated_frames", tooltip="Generated frames, 2 or more."),
                *row_inputs(),
                io.Combo.Input(
                    "extractor",
                    options=extractors.names(),
                    default=NERVE_ENCODER,
                    tooltip="The network whose features are compared; numbers of two networks cannot be compared.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=False,
                    tooltip="Seed of the permutations and of the random halves behind the floor.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="ccm_report",
                    tooltip="Name of the HTML and JSON files in the output folder.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="The answers, and what cannot be concluded."),
                io.String.Output(display_name="json", tooltip="Every number of the report, for programs."),
                io.Image.Output(display_name="figures", tooltip="All figures of the report, as one batch."),
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
        cls, real_frames: torch.Tensor, generated_frames: torch.Tensor, real: str, generated: str,
        real_labels: str, generated_labels: str, design: str, margins: str, extractor: str, seed: int,
        filename_prefix: str,
    ) -> io.NodeOutput:  # fmt: skip
        from comfy.utils import ProgressBar

        mine = labelled("real", to_grey(real_frames), real, real_labels)
        theirs = labelled("generated", to_grey(generated_frames), generated, generated_labels)
        settings = Settings(Design(design), parse_margins(margins), seed)
        network, made_by = extractors.load(extractor), Provenance(MADE_BY, program_versions())
        progress = ProgressBar(frames_seen(network, mine, theirs, None))
        report = evaluate(mine, theirs, network, settings, made_by, on_frame=progress.update)
        figures = draw_figures(report, mine, theirs)
        text, document = describe(report), to_json(report)
        files = save(filename_prefix, {"html": to_html(report, figures), "json": document})
        shown = f"{text}\n\nSaved in the output folder: {', '.join(file.name for file in files)}"
        return io.NodeOutput(text, document, to_image(as_batch(figures)), ui=ui.PreviewText(shown))
