"""How good CCM-nano is, through a real ComfyUI: nerves, texture, cohorts, fidelity, diversity, words, time.

Masks and phantoms are those of phantom patients that no training has seen. Every frame is kept under the hash of its
graph, of the weights and of the code that makes it, so that a stopped bench goes on where it was, and parts
share frames; only `speed` makes its own. Measures on real frames need CCM_FRAMES, a folder of PNG frames named
EYE_NUMBER.png; they are only looked at. The last line is one JSON object with the figures of all parts that ran.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from ...batch.client import Client
from ...host import locate, server
from ..grid import picture_grid
from . import adherence, cohorts, diversity, fidelity, speed, texture, wording
from .rows import Row, as_json, table
from .scenes import COHORTS, Bench
from .studio import FOLDER, Studio

MASKS = 24
SEEDS = 2
SHEET_ROWS = 6
PARTS: dict[str, tuple[str, Callable[[Bench], list[Row]]]] = {
    "speed": ("Seconds per frame, 384 x 384", speed.speed_rows),
    "mask": ("Mask adherence, 3 px", adherence.mask_rows),
    "superccm": ("Mask adherence, traced by superccm", adherence.superccm_rows),
    "real": ("Masks of real frames", adherence.real_rows),
    "drawn": ("The same masks drawn otherwise, with few steps", adherence.drawn_rows),
    "texture": ("Texture against phantoms of the same trees", texture.texture_rows),
    "unmasked": ("Without a mask", texture.unmasked_rows),
    "cohorts": ("Cohorts", cohorts.cohort_rows),
    "appearance": ("What the prompt moves, mask and seed fixed", cohorts.appearance_rows),
    "diversity": ("Diversity", diversity.diversity_rows),
    "few": ("Few steps", fidelity.few_rows),
    "fidelity": (
        "Fidelity to real frames with few steps, mean over seeds and its 95 % interval",
        fidelity.fidelity_rows,
    ),
    "text": ("Free wording, 20 paraphrases of each cohort", wording.wording_rows),
}


def main(arguments: list[str]) -> int:
    """Measure, print a table of each part, and print all figures as JSON on the last line."""
    options = parse(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    began = time.monotonic()
    with (
        server.running(locate.ready(Path(sys.executable))) as comfy,
        Client(comfy.address) as client,
    ):
        bench = Bench(Studio(client), options.masks, options.seeds)
        for name in options.part or PARTS:
            title, measure = PARTS[name]
            found = measure(bench)
            print(f"\n{table(title, found)}", flush=True)
            rows += found
        if "grid" in vars(bench):
            save_sheet(bench)
    print(f"\n{(time.monotonic() - began) / 60:.0f} minutes. Masks, frames and sheet.png: {FOLDER}")
    print(json.dumps(as_json(rows)))
    return 0


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python . bench nano", description="Measure the embedded model family.")
    parser.add_argument(
        "--masks", type=int, default=MASKS, help=f"masks, each with 3 prompts (default: {MASKS})"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"seeds of each (default: {SEEDS})")
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="measure this part only; may be repeated"
    )
    return parser.parse_args(arguments)


def save_sheet(bench: Bench) -> None:
    """Save the first masks, each beside its frames of the three cohorts and its phantom."""
    picture = {(shot.cohort, shot.scene.number): shot.frame.grey for shot in bench.grid if shot.seed == 0}
    rows = [
        [scene.mask.astype(float), *(picture[cohort, scene.number] for cohort in COHORTS), scene.phantom]
        for scene in bench.scenes[:SHEET_ROWS]
    ]
    titles = ["mask", *(cohort.value for cohort in COHORTS), "phantom of the mask's cohort"]
    levels = [[(picture * 255).round().astype("uint8") for picture in row] for row in rows]
    picture_grid(titles, levels).save(FOLDER / "sheet.png")
