"""The demo's graphs: read from workflows/api, given a seed, and a frame or a reference set to compare with.

A node is found by its title, for example "Control frame"; see workflows/api/demo.json.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from ..batch.client import Client, Graph
from ..ccm.cohorts import Cohort
from ..ccm.frames.reading import frame_size
from ..ccm.images import FIELD_UM, check_um_per_px
from ..host.paths import ROOT
from .option_types import SEEDS

API = ROOT / "workflows" / "api"
REFERENCE_FRAMES = 24
REAL_FRAME, REAL_SEGMENT, REAL_MEASURE = "Real frame", "Trace frame", "Measure frame"


def prepare(frame: Path | None, um_per_px: float | None, seed: int) -> Graph:
    """Return the graph for generated masks, or the one for a real frame, with its seed and pixel size set.

    Raises ImageError for a frame that cannot be opened, PixelSizeError for a pixel size that is not positive.
    """
    graph: Graph = json.loads((API / ("demo.json" if frame is None else "frame.json")).read_text("utf-8"))
    for node in graph.values():
        if "seed" in node["inputs"]:
            node["inputs"]["seed"] = (node["inputs"]["seed"] + seed) % SEEDS
    if frame is not None:
        size = check_um_per_px(FIELD_UM / frame_size(frame)[0] if um_per_px is None else um_per_px)
        for title in (REAL_SEGMENT, REAL_MEASURE):
            graph[find(graph, title)]["inputs"]["um_per_px"] = size
    return graph


def upload(client: Client, graph: Graph, frame: Path | None, seed: int) -> None:
    """Put the real frame onto the server, or else a reference set, and add the nodes that compare with it."""
    if frame is not None:
        graph[find(graph, REAL_FRAME)]["inputs"]["image"] = client.upload_image(frame)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = write_reference(Path(folder) / "ccm_reference.tiff", seed)
        graph |= comparison(graph, client.upload_image(file), seed)


def comparison(graph: Graph, reference: str, seed: int) -> Graph:
    """Return the nodes that compare the frames of all cohorts with a reference set on the server."""
    control, no_dpn, dpn = ([find(graph, f"{cohort.value} frame"), 0] for cohort in Cohort)
    sides = {"images_a": ["reference", 0], "images_b": ["all", 0]}
    chosen = {"extractor": "embedded nerve encoder", "seed": seed}
    return {
        "without": _node("Control and T1NoDPN", "ImageBatch", {"image1": control, "image2": no_dpn}),
        "all": _node("All cohorts", "ImageBatch", {"image1": ["without", 0], "image2": dpn}),
        "reference": _node("Reference", "LoadImage", {"image": reference}),
        "fidelity": _node("Fidelity", "CCM_Fidelity", sides | chosen),
        "result": _node("Fidelity JSON", "PreviewAny", {"source": ["fidelity", 1]}),
    }


def _node(title: str, class_type: str, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


def write_reference(file: Path, seed: int, count: int = REFERENCE_FRAMES) -> Path:
    """Render phantom frames of all cohorts into one multi-page TIFF, which LoadImage loads as a batch."""
    import numpy as np
    from PIL import Image

    from ..training.nano.phantoms import cohort_pair

    rng = np.random.default_rng(seed)
    frames = [cohort_pair(cohort, rng).frame for cohort in Cohort for _ in range(count // len(Cohort))]
    pages = [Image.fromarray(np.round(frame * 255).astype(np.uint8)) for frame in frames]
    pages[0].save(file, save_all=True, append_images=pages[1:])
    return file


def find(graph: Graph, title: str) -> str:
    """Return the id of the node with this title."""
    return next(node for node, data in graph.items() if data["_meta"]["title"] == title)


def has(graph: Graph, title: str) -> bool:
    """Return whether a node has this title."""
    return any(data["_meta"]["title"] == title for data in graph.values())
