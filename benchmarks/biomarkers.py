"""`python . bench biomarkers`: time, stability and crashes of the whole measurement, beside superccm and aiccm.

Frames are procedural phantoms, or those in the folder that CCM_FRAMES names; the latter never leave a temporary
folder. Every tool reads the same 8-bit PNG files and runs on one core. The last line is one JSON object, for each
tool T of ours, superccm and aiccm:
T_seg_ms, T_post_ms: CPU time per frame for segmentation and for everything after it, the median over the frames; with
--timing, the fastest of three runs of each frame, since what else the machine does can only make a run slower.
T_C_median, T_C_p95: how much CNFL changes with the change C of the frame (turned, mirrored, brighter ...), as a share.
T_C_cnfd_same: share of frames whose CNFD stays. Noise is drawn four times, and the draws count together.
T_failures: frames that a tool has no numbers for, as a share of all frames and changed frames. T_odd_failures: the
same of odd frames (black, a ring, other sizes ...).
T_cnfl_error: median error of CNFL against the phantoms' truth, as a share; T_cnfd_error and T_cnbd_error: mean errors
of CNFD and CNBD, 1/mm2; null on frames without truth.
post_speedup_T: T_post_ms over ours. load: the machine's load average at the end.
"""

from __future__ import annotations

import json
import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ..ccm.cohorts import Cohort
from ..ccm.errors import ImageError
from ..ccm.images import UM_PER_PX
from ..ccm.morphometry import measure_nerves
from ..ccm.phantom.render import render, sample_appearance
from ..ccm.phantom.topology import grow_tree, sample_targets
from ..ccm.phantom.truth import NerveTruth
from ..ccm.segmentation import load_segmenter, segment_nerves
from . import public_tools
from .frame_changes import CHANGES, Change, odd_frames
from .public_tools import Measurement, Measurements

FRAMES = 12
FIRST_SEED = 5000
TIMING_RUNS = 3
SAME = 1e-6


Measurer = Callable[[Mapping[Path, float]], Measurements]


@dataclass(frozen=True)
class Frame:
    """One frame, uint8 [H,W], and its true biomarkers, if they are known."""

    grey: np.ndarray
    truth: NerveTruth | None = None


def main(arguments: list[str]) -> int:
    """Measure, print a table, and print all figures as JSON on the last line."""
    import cv2

    options = parse(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    load_segmenter()  # without its weights nothing could be measured
    named = os.environ.get("CCM_FRAMES")
    frames = read_frames(Path(named), options.frames) if named else phantoms(options.frames)
    print(f"{len(frames)} {'frames of ' + named if named else 'phantoms'}", flush=True)
    figures: dict[str, float | None] = {"frames": len(frames)}
    with TemporaryDirectory() as folder:
        files = save(Path(folder), frames, {} if options.timing else CHANGES)
        tools = {"ours": measure_ours} | (public_measurers() if options.public_tools else {})
        runs = [run_all(tools, files) for _ in range(TIMING_RUNS if options.timing else 1)]
        for tool in tools:
            figures |= summary(tool, frames, files, fastest([run[tool] for run in runs]))
            if tool != "ours":
                figures[f"post_speedup_{tool}"] = ratio(figures[f"{tool}_post_ms"], figures["ours_post_ms"])
    figures["load"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(table(figures))
    print(json.dumps({key: rounded(value) for key, value in figures.items()}))
    return 0


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python . bench biomarkers", description="Measure the measurement.")
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"how many (default: {FRAMES})")
    parser.add_argument("--no-public-tools", dest="public_tools", action="store_false", help="ours only")
    parser.add_argument("--timing", action="store_true", help="three runs, without the changed frames")
    return parser.parse_args(arguments)


def read_frames(folder: Path, count: int) -> list[Frame]:
    """Read evenly spaced PNG frames of a folder; raises ImageError where there is none."""
    from PIL import Image

    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise ImageError(f"No PNG frames in {folder}", fix="let CCM_FRAMES name a folder of frames")
    chosen = sorted({round(place) for place in np.linspace(0, len(paths) - 1, count)})
    return [Frame(np.asarray(Image.open(paths[number]).convert("L"))) for number in chosen]


def phantoms(count: int) -> list[Frame]:
    """Draw phantoms of all cohorts in turn."""
    cohorts, frames = list(Cohort), []
    for number in range(count):
        cohort, rng = cohorts[number % len(cohorts)], np.random.default_rng(FIRST_SEED + number)
        tree = grow_tree(sample_targets(cohort, rng), rng)
        grey = np.round(255.0 * render(tree, sample_appearance(cohort, rng), rng)).astype(np.uint8)
        frames.append(Frame(grey, tree.truth))
    return frames


def save(folder: Path, frames: Sequence[Frame], changes: Mapping[str, Sequence[Change]]) -> dict[Path, float]:
    """Write all frames as they are and changed, and the odd frames, as PNG files: {path: um per pixel}."""
    from PIL import Image

    files: dict[Path, float] = {}

    def write(name: str, grey: np.ndarray, um_per_px: float) -> None:
        path = folder / f"{name}.png"
        Image.fromarray(grey).save(path)
        files[path] = um_per_px

    for number, frame in enumerate(frames):
        write(f"{number}.as_it_is", frame.grey, UM_PER_PX)
        for name, draws in changes.items():
            for draw, change in enumerate(draws):
                grey = change(frame.grey)
                write(f"{number}.{name}.{draw}", grey, UM_PER_PX * frame.grey.shape[1] / grey.shape[1])
    for name, grey in odd_frames(frames[0].grey).items():
        write(f"odd.{name}", grey, UM_PER_PX)
    return files


def public_measurers() -> dict[str, Measurer]:
    python = public_tools.prepare()
    return {tool: partial(public_tools.measure, python, tool) for tool in public_tools.NAMES}


def run_all(tools: Mapping[str, Measurer], files: Mapping[Path, float]) -> dict[str, Measurements]:
    """Let every tool measure all files, one after the other."""
    measured = {}
    for tool, measure in tools.items():
        print(f"Running {tool} on {len(files)} files", flush=True)
        measured[tool] = measure(files)
    return measured


def fastest(runs: Sequence[Measurements]) -> Measurements:
    """What the first run measured, with the least time that any run needed for each frame."""
    values = {}
    for path, value in runs[0].values.items():
        same = [run.values[path] for run in runs if path in run.values]
        values[path] = replace(
            value,
            segmentation_ms=min(one.segmentation_ms for one in same),
            post_ms=min(one.post_ms for one in same),
        )
    return Measurements(values, runs[0].failures)


def measure_ours(files: Mapping[Path, float]) -> Measurements:
    """Segment and measure as the public tools do, each file by itself."""
    values: dict[Path, Measurement] = {}
    failures: dict[Path, str] = {}
    for path, um_per_px in [next(iter(files.items())), *files.items()]:  # the first one warms up
        try:
            values[path] = measure_one(path, um_per_px)
        except Exception as error:  # counted like the failures of the public tools
            failures[path] = f"{type(error).__name__}: {error}"
    return Measurements(values, failures)


def measure_one(path: Path, um_per_px: float) -> Measurement:
    from PIL import Image

    grey = np.asarray(Image.open(path), dtype=np.float32) / 255.0
    start = time.process_time()
    mask = segment_nerves(grey[None], um_per_px).mask[0]
    middle = time.process_time()
    found = measure_nerves(mask, um_per_px)
    end = time.process_time()
    times = 1e3 * (middle - start), 1e3 * (end - middle)
    return Measurement(found.cnfl_mm_per_mm2, found.cnfd_per_mm2, found.cnbd_per_mm2, *times)


def summary(
    tool: str, frames: Sequence[Frame], files: Mapping[Path, float], measured: Measurements
) -> dict[str, float | None]:
    """All figures of one tool, their keys beginning with its name."""
    by_name = {path.stem: value for path, value in measured.values.items()}
    usual = {number: by_name.get(f"{number}.as_it_is") for number in range(len(frames))}
    known = {number: value for number, value in usual.items() if value is not None}
    true = [
        (value, truth)
        for number, value in known.items()
        if (truth := frames[number].truth) and truth.cnfl_mm_per_mm2
    ]
    odd = [path.stem.startswith("odd.") for path in files]
    failed = [path not in measured.values for path in files]
    told = sum(failed), sum(f and o for f, o in zip(failed, odd, strict=True))
    figures: dict[str, float | None] = {
        "seg_ms": median([value.segmentation_ms for value in known.values()]),
        "post_ms": median([value.post_ms for value in known.values()]),
        "failures": (told[0] - told[1]) / (len(files) - sum(odd)),
        "odd_failures": told[1] / sum(odd),
        "cnfl_error": median([abs(v.cnfl / t.cnfl_mm_per_mm2 - 1.0) for v, t in true]),
        "cnfd_error": mean([abs(v.cnfd - t.cnfd_per_mm2) for v, t in true]),
        "cnbd_error": mean([abs(v.cnbd - t.cnbd_per_mm2) for v, t in true]),
    }
    for name, draws in CHANGES.items():
        pairs = [
            (value, by_name.get(f"{number}.{name}.{draw}"))
            for number, value in known.items()
            for draw in range(len(draws))
        ]
        figures |= stability(name, [(a, b) for a, b in pairs if b is not None and a.cnfl > 0])
    for path, problem in measured.failures.items():
        print(f"{tool} failed on {path.stem}: {problem[:100]}", flush=True)
    return {f"{tool}_{key}": value for key, value in figures.items()}


def stability(name: str, pairs: Sequence[tuple[Measurement, Measurement]]) -> dict[str, float | None]:
    """How much the numbers of frames change with a change of the frames."""
    changes = [abs(after.cnfl / before.cnfl - 1.0) for before, after in pairs]
    same = [abs(after.cnfd - before.cnfd) <= SAME * before.cnfd for before, after in pairs]
    return {
        f"{name}_median": median(changes),
        f"{name}_p95": float(np.percentile(changes, 95)) if changes else None,
        f"{name}_cnfd_same": float(np.mean(same)) if same else None,
    }


def median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def ratio(theirs: float | None, ours: float | None) -> float | None:
    return theirs / ours if theirs and ours else None


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def table(figures: Mapping[str, float | None]) -> str:
    """One row for each figure that any tool has, one column for each tool."""
    tools = [tool for tool in ("ours", *public_tools.NAMES) if f"{tool}_post_ms" in figures]
    rows = [key.removeprefix("ours_") for key in figures if key.startswith("ours_")]
    lines = [f"{'':<24}" + "".join(f"{tool:>12}" for tool in tools)]
    for row in rows:
        cells = [rounded(figures[f"{tool}_{row}"]) for tool in tools]
        if cells == [None] * len(tools):
            continue
        lines.append(f"{row:<24}" + "".join(f"{'-' if cell is None else cell:>12}" for cell in cells))
    return "\n".join(lines)
