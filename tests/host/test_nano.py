"""The embedded family on the real ComfyUI."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GENERATE = Path(__file__).resolve().parents[2] / "workflows" / "api" / "generate.json"
STEPS = 8
STRONG = 4  # of 8 steps: noise levels 1, 0.95, 0.9, 0.83, at the flow shift of 3


def frame(client: Any, guidance: float, ends_at: int) -> np.ndarray:
    """A frame of which so many steps are done, pixels uint8 [H,W,3]."""
    graph = json.loads(GENERATE.read_text("utf-8"))
    sample = graph["sample"]
    sample["class_type"] = "KSamplerAdvanced"
    sample["inputs"]["noise_seed"] = sample["inputs"].pop("seed")
    del sample["inputs"]["denoise"]
    sample["inputs"] |= {"add_noise": "enable", "return_with_leftover_noise": "enable", "start_at_step": 0}
    sample["inputs"] |= {"steps": STEPS, "cfg": guidance, "end_at_step": ends_at}
    (file,) = client.run(graph).files("saved")
    return np.asarray(Image.open(io.BytesIO(client.fetch(file))))


def test_guidance_acts_in_weak_noise_only(client: Any) -> None:
    assert (frame(client, 1.0, STRONG) == frame(client, 30.0, STRONG)).all()
    assert (frame(client, 1.0, STEPS) != frame(client, 30.0, STEPS)).any()
