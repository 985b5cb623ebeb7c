"""CCM_CohortPlot: measured frames by cohort, as a figure and a table in the node."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ccm.cohort_groups import group, to_figure, to_table
from ..ccm.equivalence.rows import read_rows
from ..ccm.images import to_image
from ..nodes.newer_hosts import search_aliases
from .display import PreviewTable


class CohortPlot(io.ComfyNode):
    """CCM_CohortPlot."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_CohortPlot",
            display_name="Cohort Plot",
            category="CCM/evaluate",
            description="Draws the biomarkers of every cohort side by side, with patient means and effect sizes.",
            is_output_node=True,
            **search_aliases("group comparison", "effect size", "chart"),
            inputs=[
                io.String.Input(
                    "measured",
                    force_input=True,
                    tooltip="The json output of Nerve Biomarkers for all frames.",
                ),
                io.String.Input(
                    "labels",
                    multiline=True,
                    default="cohort,patient\n",
                    tooltip="The records of Load Frames, or CSV: the heading cohort,patient and one line per frame "
                    "in order. The patient may be left out.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="table", tooltip="Mean, standard deviation and Hedges' g, as text."
                ),
                io.Image.Output(display_name="figure", tooltip="One panel for each biomarker."),
            ],
        )

    @classmethod
    def execute(cls, measured: str, labels: str) -> io.NodeOutput:
        groups = group(read_rows("measured", measured, labels))
        table, figure = to_table(groups), to_image(to_figure(groups)[None])
        shown = PreviewTable(table).as_dict() | ui.PreviewImage(figure).as_dict()
        return io.NodeOutput(table.text(), figure, ui=shown)
