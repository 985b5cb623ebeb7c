"""CCM_Fidelity: how far generated frames lie from reference frames."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ccm.fidelity.compare import compare
from ..ccm.fidelity.features import NERVE_ENCODER
from ..ccm.fidelity.summary import describe, to_json
from ..ccm.images import to_grey
from ..nodes.newer_hosts import search_aliases
from . import extractors

LARGEST_SEED = 2**64 - 1


class Fidelity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_Fidelity",
            display_name="CCM Fidelity",
            category="CCM/evaluate",
            description=(
                "Measures how far generated frames lie from reference frames: unbiased MMD with a "
                "permutation p, and the Frechet distance beside the floor that real frames leave under it."
            ),
            **search_aliases("FID", "MMD", "Frechet distance"),
            inputs=[
                io.Image.Input(
                    "images_a",
                    display_name="reference",
                    tooltip="Real frames, 2 or more; for a usable answer 100 or more.",
                ),
                io.Image.Input(
                    "images_b",
                    display_name="generated",
                    tooltip="Generated frames, 2 or more. They may differ in size from the reference.",
                ),
                io.Combo.Input(
                    "extractor",
                    options=extractors.names(),
                    default=NERVE_ENCODER,
                    tooltip=(
                        "The network that turns frames into features: the embedded one, EfficientNet-Lite0 if its "
                        f"packages are installed, or an Inception weights file in models/{extractors.FOLDER}. "
                        "Numbers of two extractors cannot be compared."
                    ),
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=False,
                    tooltip="Seed of the permutations and of the random halves behind the floor.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="A CLIP vision model to take the features from, in place of the extractor above.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="report", tooltip="The distances in words, with N and extractor."
                ),
                io.String.Output(display_name="json", tooltip="Every number of the report, for programs."),
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
    def execute(cls, images_a, images_b, extractor: str, seed: int, clip_vision=None) -> io.NodeOutput:
        from comfy.utils import ProgressBar

        reference, generated = to_grey(images_a), to_grey(images_b)
        progress = ProgressBar(len(reference) + len(generated))
        network = extractors.of_clip_vision(clip_vision) if clip_vision else extractors.load(extractor)
        report = compare(reference, generated, network, seed, progress.update)
        text = describe(report)
        return io.NodeOutput(text, to_json(report), ui=ui.PreviewText(text))
