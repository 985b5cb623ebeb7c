"""`python . bench phantoms`: how many pairs of mask and frame one core grows, draws and renders in a second."""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from ..ccm.cohorts import Cohort
from ..ccm.phantom.mask import draw_mask
from ..ccm.phantom.render import render, sample_appearance
from ..ccm.phantom.topology import grow_tree, sample_targets

MASK_WIDTH_PX = 3.0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python . bench phantoms", description=__doc__)
    parser.add_argument("--pairs", type=int, default=150, help="pairs to make, a third for each cohort")
    options = parser.parse_args(argv)
    import cv2

    cv2.setNumThreads(1)
    cohorts = list(Cohort)
    steps = [pair_ms(cohorts[k % len(cohorts)], k) for k in range(options.pairs)]
    grow, draw, paint = (statistics.fmean(column) for column in zip(*steps, strict=True))
    print("milliseconds of CPU time per pair, 384 x 384, one core")
    for name, value in (("nerve tree with its truth", grow), ("mask", draw), ("frame", paint)):
        print(f"{name:28} {value:6.2f}")
    rate = 1e3 / (grow + draw + paint)
    figures = {"pairs_per_second": rate, "grow_ms": grow, "mask_ms": draw, "frame_ms": paint}
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))
    return 0


def pair_ms(cohort: Cohort, seed: int) -> tuple[float, float, float]:
    """Return the milliseconds of CPU time for one tree, its mask and its frame."""
    rng = np.random.default_rng(seed)
    began = time.process_time()
    tree = grow_tree(sample_targets(cohort, rng), rng)
    grown = time.process_time()
    draw_mask(tree, width_px=MASK_WIDTH_PX)
    drawn = time.process_time()
    render(tree, sample_appearance(cohort, rng), rng)
    return (grown - began) * 1e3, (drawn - grown) * 1e3, (time.process_time() - drawn) * 1e3
