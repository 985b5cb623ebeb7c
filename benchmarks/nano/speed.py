"""Seconds per frame, as the server times one prompt of one frame, with everything loaded. Runs nothing beside it."""

from __future__ import annotations

import statistics

from ...ccm.cohorts import clinical_prompt
from .rows import Row
from .scenes import COHORTS, FIRST_SEED, Bench
from .studio import FEW_STEPS, STANDARD, Sampling, Wish

FRAMES = 6
UNUSED_SEED = FIRST_SEED + 900_000  # the server would answer a known prompt from memory


def speed_rows(bench: Bench) -> list[Row]:
    """Median over frames, after one that warms up."""
    return [
        Row("seconds_per_frame", str(STANDARD), _median(bench, STANDARD, 0), "at most", 5.0),
        Row("seconds_per_frame_few_steps", str(FEW_STEPS), _median(bench, FEW_STEPS, 1000), "at most", 1.5),
    ]


def _median(bench: Bench, sampling: Sampling, offset: int) -> float:
    from tqdm import tqdm

    times = []
    for number in tqdm(range(FRAMES + 1), desc="speed", unit="frame"):
        scene = bench.scenes[number % len(bench.scenes)]
        prompt = clinical_prompt(COHORTS[number % 3])
        wish = Wish(prompt, UNUSED_SEED + offset + number, scene.mask_file, sampling)
        times.append(bench.studio.seconds(wish))
    return statistics.median(times[1:])
