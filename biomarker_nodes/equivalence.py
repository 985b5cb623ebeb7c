"""CCM_Equivalence: are the biomarkers of generated frames shown to equal those of real ones?"""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ccm.equivalence.compare import compare_sets
from ..ccm.equivalence.figures import agreement_figures, forest_figure, violin_figures
from ..ccm.equivalence.margins import parse_margins
from ..ccm.equivalence.rows import read_rows
from ..ccm.equivalence.summary import describe, to_csv, to_json
from ..ccm.images import to_image
from ..ccm.statistics.equivalence import Design
from ..nodes.newer_hosts import search_aliases
from .saving import save

LABELS = (
    "The records of Load Frames, or CSV: the heading cohort,patient and one line per frame in order, or one line "
    "for all frames."
)


def row_inputs() -> list[io.Input]:
    """The inputs of two measured sets: their biomarkers, their labels, and how to compare them."""
    return [
        io.String.Input(
            "real",
            force_input=True,
            tooltip="The json output of Nerve Biomarkers for the real frames.",
        ),
        io.String.Input(
            "generated",
            force_input=True,
            tooltip="The json output of Nerve Biomarkers for the generated frames.",
        ),
        io.String.Input(
            "real_labels",
            multiline=True,
            default="cohort,patient\n",
            tooltip=f"Real frames. {LABELS}",
        ),
        io.String.Input(
            "generated_labels",
            multiline=True,
            default="cohort\nT1DPN",
            tooltip=f"Generated frames; the patient may be left out. {LABELS}",
        ),
        io.Combo.Input(
            "design",
            options=[design.value for design in Design],
            default=Design.INDEPENDENT.value,
            tooltip=(
                "independent: frames from masks of their own. paired: frame i of both sets shares a mask, "
                "which shows that the mask is followed, not that the population is realistic."
            ),
        ),
        io.String.Input(
            "margins",
            multiline=True,
            default="",
            tooltip=(
                "One a line: CNFL 1.5, or CNFD T1DPN 3 # source. Empty: CNFL 1.5 mm/mm2, CNFD and CNBD "
                "half the standard deviation between patients."
            ),
        ),
    ]


class Equivalence(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_Equivalence",
            display_name="Biomarker Equivalence",
            category="CCM/evaluate",
            description=(
                "Tests on patient means whether generated frames equal real ones within a margin (TOST), "
                'in every biomarker and cohort together. Too few patients give "not shown".'
            ),
            **search_aliases("TOST", "Bland-Altman", "statistics"),
            inputs=[
                *row_inputs(),
                io.String.Input(
                    "filename_prefix",
                    default="ccm_equivalence",
                    tooltip="Name of the JSON and CSV files in the output folder.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="table", tooltip="The verdict and a row per test, as text."),
                io.String.Output(display_name="json", tooltip="Every number of the report, with its unit."),
                io.String.Output(display_name="csv", tooltip="One line per biomarker and cohort."),
                io.Image.Output(display_name="forest", tooltip="All 90 % intervals over their margins."),
                io.Image.Output(
                    display_name="violins",
                    tooltip="Patients of every cohort with the margin band, per biomarker.",
                ),
                io.Image.Output(
                    display_name="agreement",
                    tooltip="Bland-Altman figures of the pairs, if the design is paired.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        real: str,
        generated: str,
        real_labels: str,
        generated_labels: str,
        design: str,
        margins: str,
        filename_prefix: str,
    ) -> io.NodeOutput:
        sets = (
            read_rows("real", real, real_labels),
            read_rows("generated", generated, generated_labels),
        )
        report = compare_sets(*sets, parse_margins(margins), Design(design))
        text, document, lines = describe(report), to_json(report), to_csv(report)
        save(filename_prefix, {"json": document, "csv": lines})
        figures = forest_figure(report), violin_figures(report), agreement_figures(report)
        return io.NodeOutput(text, document, lines, *map(to_image, figures), ui=ui.PreviewText(text))
