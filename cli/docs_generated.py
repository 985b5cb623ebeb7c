"""The frames of the help pages that only a running ComfyUI makes: the embedded family, one thing varied at a time."""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..batch.client import Client, Graph
from ..ccm.cohorts import Cohort
from ..ccm.phantom.mask import draw_mask
from ..ccm.phantom.render import render, sample_appearance
from ..ccm.phantom.topology import grow_tree, sample_targets
from ..host.paths import ROOT

GRAPH = ROOT / "workflows" / "api" / "generate.json"
STEPS = 20
MASK_PX = 3.0
NOISE_SEED = 4


@dataclass(frozen=True)
class Phantom:
    """A rendered frame [H,W] and the mask [H,W] of its nerves as the control net knows it, both in 0..1."""

    frame: np.ndarray
    mask: np.ndarray


def phantom(cohort: Cohort, seed: int) -> Phantom:
    """A phantom of a cohort, always the same for a seed."""
    rng = np.random.default_rng(seed)
    tree = grow_tree(sample_targets(cohort, rng), rng)
    frame = render(tree, sample_appearance(cohort, rng), rng)
    return Phantom(frame, draw_mask(tree, width_px=MASK_PX).astype(np.float32) / 255.0)


@cache
def generate(client: Client, grown: Cohort, seed: int, prompted: Cohort, strength: float = 1.0) -> np.ndarray:
    """The frame [H,W] of the embedded family for the mask of a phantom and a cohort's prompt, always one noise."""
    from PIL import Image

    mask = phantom(grown, seed).mask

    graph: Graph = json.loads(GRAPH.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "help_page_mask.png"
        Image.fromarray(np.round(255.0 * mask).astype(np.uint8)).save(file)
        inputs = {"image": client.upload_image(file), "channel": "red"}
    graph["mask"] = {"class_type": "LoadImageMask", "inputs": inputs}
    graph["adapter"]["inputs"]["strength"] = strength
    graph["prompt"]["inputs"]["cohort"] = prompted.value
    graph["sample"]["inputs"] |= {"seed": NOISE_SEED, "steps": STEPS}
    content = client.fetch(client.run(graph).files("saved")[0])
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=np.float32) / 255.0
