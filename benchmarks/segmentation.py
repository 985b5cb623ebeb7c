"""`python . bench segmentation [--tracings DIR]`: how well the embedded network finds nerves, and how fast.

With --tracings, a folder or table of frames and their 1-pixel tracings (as `ccm.frames` pairs them): f1 is the mean
centre-line F1 within 3 HRT3 pixels, cnfl_error the median of |CNFL / CNFL of the tracing - 1|.

Without, proxies on generated frames: NAME_f1 and NAME_cnfl_error on `phantoms` (the renderer of the training) and
`analytic` frames (another renderer, which was not trained on); hit_KIND, the share of unfit frames of a kind that the
quality gate flags, and false_alarm on fit ones; with CCM_FRAMES, agreement with superccm and aiccm on real frames,
A_B_EYE, and the share that the gate flags, by eye. ms: CPU time per frame on one core, the median, with the machine's
load beside it. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ..ccm.errors import DataError
from ..ccm.frames.listing import read_records
from ..ccm.frames.reading import read_frame
from ..ccm.frames.record import Record, load_frame, load_mask
from ..ccm.images import UM_PER_PX
from ..ccm.morphometry import centre_line_f1, measure_nerves
from ..ccm.segmentation import segment_nerves
from . import public_tools
from .analytic_frames import analytic_frame
from .unfit_frames import FIT, KINDS, fit_frame

TOLERANCE_PX = 3.0
Figures = dict[str, float]


def main(arguments: list[str]) -> int:
    """Measure, print a table, and print all figures as JSON on the last line."""
    import cv2

    options = parse(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if options.tracings:
        figures = against_tracings(options.tracings)
    else:
        figures = on_generated(options.frames) | gate(options.frames) | timing()
        if named := os.environ.get("CCM_FRAMES"):
            figures |= on_real(Path(named), options.public_tools)
        else:
            print("CCM_FRAMES is not set: no real frames, no comparison with public tools")
    for name, value in figures.items():
        print(f"{name:32} {value:8.3f}")
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))
    return 0


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python . bench segmentation", description="Measure the segmentation.")
    parser.add_argument("--tracings", type=Path, help="frames with 1-pixel tracings, a folder or a table")
    parser.add_argument("--frames", type=int, default=30, help="generated frames of each kind (default: 30)")
    parser.add_argument("--no-public-tools", dest="public_tools", action="store_false", help="ours only")
    return parser.parse_args(arguments)


def against_tracings(path: Path) -> Figures:
    """F1 and CNFL error against tracings, over all frames that have one."""
    records = [record for record in read_records(path) if record.mask]
    if not records:
        raise DataError(f"{path} holds no tracings", fix="put them into a folder masks beside the frames")
    scores = [_against_tracing(record) for record in records]
    return {"frames": len(scores), **_summary("", scores)}


def _against_tracing(record: Record) -> tuple[float, float]:
    tracing = load_mask(record)
    assert tracing is not None
    found = segment_nerves(load_frame(record)[None], record.um_per_px).mask[0]
    return _score(found, tracing > 0.5, record.um_per_px)


def on_generated(count: int) -> Figures:
    """F1 and CNFL error on phantoms and on analytic frames."""
    made = {
        "phantoms": (fit_frame(seed) for seed in range(count)),
        "analytic": (analytic_frame(seed) for seed in range(count)),
    }
    figures: Figures = {}
    for name, frames in made.items():
        scores = [_score(segment_nerves(grey[None]).mask[0], nerve, UM_PER_PX) for grey, nerve in frames]
        figures |= _summary(f"{name}_", scores)
    return figures


def _score(found: np.ndarray, truth: np.ndarray, um_per_px: float) -> tuple[float, float]:
    """Centre-line F1 and relative CNFL error; the truth is widened by a pixel, as a 1-pixel line has no area."""
    import cv2

    wide = cv2.dilate(truth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    f1 = centre_line_f1(found, truth, TOLERANCE_PX * UM_PER_PX / um_per_px).f1
    length, expected = (measure_nerves(mask, um_per_px).cnfl_mm_per_mm2 for mask in (found, wide))
    return f1, abs(length / expected - 1.0) if expected else float(length > 0)


def _summary(prefix: str, scores: Sequence[tuple[float, float]]) -> Figures:
    f1, error = np.array(scores).T
    return {f"{prefix}f1": float(f1.mean()), f"{prefix}cnfl_error": float(np.median(error))}


def gate(count: int) -> Figures:
    """How often the quality gate flags frames of each unfit kind, and fit ones."""
    figures: Figures = {}
    for name, (make, reasons) in KINDS.items():
        found = [segment_nerves(make(seed)[None]).quality[0].reasons for seed in range(count)]
        figures[f"hit_{name}"] = float(np.mean([bool(set(r) & reasons) for r in found]))
    fit = [segment_nerves(fit_frame(FIT + seed).grey[None]).quality[0].usable for seed in range(3 * count)]
    return figures | {"false_alarm": 1.0 - float(np.mean(fit))}


def timing(repeats: int = 9) -> Figures:
    """CPU time of a frame, quality gate included, the median of several calls after a first one."""
    grey = fit_frame(0).grey[None]
    segment_nerves(grey)
    times = []
    for _ in range(repeats):
        began = time.process_time()
        segment_nerves(grey)
        times.append((time.process_time() - began) * 1e3)
    return {"ms": float(np.median(times)), "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0}


def on_real(folder: Path, tools: bool) -> Figures:
    """Agreement of the tracings of all tools with one another, and the share flagged, by eye; no frame is kept."""
    files = sorted(folder.rglob("*.png"))
    found = {file: segment_nerves(read_frame(file)[None]) for file in files}
    traced: dict[str, Mapping[Path, np.ndarray]] = {"ours": {file: s.mask[0] for file, s in found.items()}}
    if tools:
        traced |= traced_by_tools(files)
    figures: Figures = {}
    for eye, members in by_eye(files).items():
        figures[f"flagged_{eye}"] = float(np.mean([not found[file].quality[0].usable for file in members]))
        for a, b in combinations(traced, 2):
            both = [file for file in members if file in traced[a] and file in traced[b]]
            scores = [centre_line_f1(traced[a][file], traced[b][file], TOLERANCE_PX).f1 for file in both]
            figures[f"{a}_{b}_{eye}"] = float(np.mean(scores)) if scores else float("nan")
    return figures


def traced_by_tools(files: Sequence[Path]) -> dict[str, Mapping[Path, np.ndarray]]:
    """Skeletons of the public tools, made from copies in a temporary folder."""
    python = public_tools.prepare()
    with TemporaryDirectory() as scratch:
        copies = {Path(shutil.copy(file, scratch)): file for file in files}
        traced = {tool: public_tools.trace(python, tool, list(copies)) for tool in public_tools.NAMES}
    return {
        tool: {copies[copy]: line for copy, line in tracings.skeletons.items()}
        for tool, tracings in traced.items()
    }


def by_eye(files: Iterable[Path]) -> dict[str, list[Path]]:
    eyes: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        eyes[file.name.rpartition("_")[0]].append(file)
    return eyes
