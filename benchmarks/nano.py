"""How well CCM-nano follows nerve masks, and what a frame costs, through a real ComfyUI.

The same generated masks become frames of every cohort; the nerves of each frame are traced, by our
segmentation and by superccm, and compared with the mask.

mask_f1, mask_f1_superccm: mean F1 of the centre-lines within 3 px. cnfl_error: mean of |CNFL of the tracing -
exact CNFL of the mask| as a share of the latter. seconds_per_frame: median over prompts of one frame each, as
the server times them, with everything loaded. Greys run from 0 to 1.
"""

from __future__ import annotations

import json
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np

from ..batch.client import Client, Graph
from ..ccm.cohorts import Cohort
from ..ccm.morphometry import centre_line_f1, measure_nerves
from ..ccm.segmentation import segment_nerves
from ..host import locate, server
from ..host.paths import OUTPUT
from . import public_tools
from .grid import picture_grid

FOLDER = OUTPUT / "bench" / "nano"
MASKS = 24
STEPS = 20
CFG = 1.5
FIRST_SEED = 10_000  # training uses small seeds
SHEET_ROWS = 6
COHORTS = tuple(Cohort)


@dataclass(frozen=True)
class Mask:
    """A generated nerve mask, bool [H,W], and its exact nerve fibre length per area."""

    number: int
    nerve: np.ndarray
    cnfl_mm_per_mm2: float


@dataclass(frozen=True)
class Frame:
    """A generated frame, where it lies, and the figures of its tracing against its mask."""

    cohort: Cohort
    number: int
    path: Path
    grey: np.ndarray  # uint8 [H,W]
    seconds: float
    f1: float
    cnfl_error: float  # signed, as a share
    f1_superccm: float | None = None  # None where superccm failed or was left out


def main(arguments: list[str]) -> int:
    """Measure, print a table, and print all figures as JSON on the last line."""
    options = parse(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    peer = public_tools.prepare() if options.superccm else None
    with (
        server.running(locate.ready(Path(sys.executable))) as comfy,
        Client(comfy.address) as client,
    ):
        masks = [make_mask(client, number) for number in range(options.masks)]
        frames = [make_frame(client, c, mask, options.steps) for c in COHORTS for mask in masks]
    if peer is not None:
        frames = judged_by_superccm(peer, frames, masks)
    save_sheet(masks, frames)
    figures = summary(frames, superccm=options.superccm)
    print(table(figures))
    print(f"Frames and sheet.png: {FOLDER}")
    print(json.dumps(figures))
    return 0


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python . bench nano", description="Measure how CCM-nano follows masks.")
    parser.add_argument("--masks", type=int, default=MASKS, help=f"masks per cohort (default: {MASKS})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"sampling steps (default: {STEPS})")
    parser.add_argument("--no-superccm", dest="superccm", action="store_false", help="leave superccm out")
    return parser.parse_args(arguments)


def mask_node(number: int) -> Graph:
    """Masks draw their biomarkers from the cohorts in turn, so that sparse and dense ones are among them."""
    targets = {"cnfl": 0.0, "cnfd": 0.0, "cnbd": 0.0, "tortuosity": 0.0}
    cohort = COHORTS[number % len(COHORTS)].value
    inputs = {"cohort": cohort, **targets, "count": 1, "seed": FIRST_SEED + number, "size": 384, "width": 3.0}
    return {"mask": {"class_type": "CCM_GenerateNerveMask", "inputs": inputs}}


def mask_graph(number: int) -> Graph:
    return {
        **mask_node(number),
        "truth": {"class_type": "PreviewAny", "inputs": {"source": ["mask", 1]}},
        "picture": {"class_type": "MaskToImage", "inputs": {"mask": ["mask", 0]}},
        "saved": {"class_type": "PreviewImage", "inputs": {"images": ["picture", 0]}},
    }


def frame_graph(number: int, cohort: Cohort, steps: int) -> Graph:
    control = {"positive": ["prompt", 0], "negative": ["prompt", 1], "control_net": ["nano", 3]}
    control |= {"mask": ["mask", 0], "vae": ["nano", 2], "latent": ["latent", 0]}
    control |= {"strength": 1.0, "start": 0.0, "end": 1.0}
    sample = {"model": ["adapter", 0], "positive": ["control", 0], "negative": ["control", 1]}
    sample |= {"latent_image": ["latent", 0], "seed": FIRST_SEED + number, "steps": steps, "cfg": CFG}
    sample |= {"sampler_name": "dpmpp_2m", "scheduler": "simple", "denoise": 1.0}
    adapter = {"model": ["nano", 0], "adapter": "embedded: wdlora", "strength": 1.0}
    prompt = {"cohort": cohort.value, "clip": ["nano", 1], "modifiers": ""}
    size = {"width": 384, "height": 384, "batch_size": 1}
    return {
        **mask_node(number),
        "nano": {"class_type": "CCM_LoadNano", "inputs": {}},
        "adapter": {"class_type": "CCM_LoadAdapter", "inputs": adapter},
        "prompt": {"class_type": "CCM_DPNPrompt", "inputs": prompt},
        "latent": {"class_type": "EmptySD3LatentImage", "inputs": size},
        "control": {"class_type": "CCM_ApplyNerveMaskControl", "inputs": control},
        "sample": {"class_type": "KSampler", "inputs": sample},
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["nano", 2]}},
        "saved": {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}},
    }


def make_mask(client: Client, number: int) -> Mask:
    outputs = client.run(mask_graph(number))
    data = client.fetch(outputs.files("saved")[0])
    (FOLDER / f"mask_{number:02}.png").write_bytes(data)
    truth = json.loads(outputs.text("truth"))["frames"][0]
    return Mask(number, read_grey(data) > 127, truth["cnfl_mm_per_mm2"])


def make_frame(client: Client, cohort: Cohort, mask: Mask, steps: int) -> Frame:
    outputs = client.run(frame_graph(mask.number, cohort, steps))
    data = client.fetch(outputs.files("saved")[0])
    path = FOLDER / f"{cohort.value}_{mask.number:02}.png"
    path.write_bytes(data)
    grey = read_grey(data)
    traced = segment_nerves(grey[None].astype(np.float32) / 255).mask[0]
    f1 = centre_line_f1(traced, mask.nerve).f1
    error = measure_nerves(traced).cnfl_mm_per_mm2 / mask.cnfl_mm_per_mm2 - 1
    print(f"{path.name:20} {outputs.seconds:6.1f} s   F1 {f1:.3f}   CNFL {error:+.1%}", flush=True)
    return Frame(cohort, mask.number, path, grey, outputs.seconds, f1, error)


def read_grey(data: bytes) -> np.ndarray:
    """Decode a PNG into grey, uint8 [H,W]."""
    from PIL import Image

    return np.asarray(Image.open(BytesIO(data)).convert("L"))


def judged_by_superccm(python: Path, frames: Sequence[Frame], masks: Sequence[Mask]) -> list[Frame]:
    """Add superccm's F1 to every frame that it can trace."""
    traced = public_tools.trace(python, "superccm", [frame.path for frame in frames])
    for path, problem in traced.failures.items():
        print(f"superccm failed on {path.name}: {problem}")

    def judge(frame: Frame) -> Frame:
        skeleton = traced.skeletons.get(frame.path)
        if skeleton is None:
            return frame
        return replace(frame, f1_superccm=centre_line_f1(skeleton, masks[frame.number].nerve).f1)

    return [judge(frame) for frame in frames]


def summary(frames: Sequence[Frame], *, superccm: bool) -> dict:
    """All figures: those of all frames together, and the same for each cohort."""
    cohorts = {c.value: figures([f for f in frames if f.cohort is c], superccm) for c in COHORTS}
    return {**figures(frames, superccm), "cohorts": cohorts}


def figures(frames: Sequence[Frame], superccm: bool) -> dict[str, float | int | None]:
    judged = [frame.f1_superccm for frame in frames if frame.f1_superccm is not None]
    return {
        "mask_f1": mean(frame.f1 for frame in frames),
        "mask_f1_lowest": round(min(frame.f1 for frame in frames), 4),
        "mask_f1_superccm": mean(judged) if judged else None,
        "superccm_failures": len(frames) - len(judged) if superccm else None,
        "cnfl_error": mean(abs(frame.cnfl_error) for frame in frames),
        "cnfl_bias": mean(frame.cnfl_error for frame in frames),
        "grey_mean": mean(frame.grey.mean() / 255 for frame in frames),
        "grey_std": mean(frame.grey.std() / 255 for frame in frames),
        "seconds_per_frame": round(statistics.median(frame.seconds for frame in frames), 2),
        "frames": len(frames),
    }


def mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 4)


def table(figures: dict) -> str:
    """Write the figures of the cohorts, and of all together, as text."""
    head = ("", "F1", "lowest", "F1 superccm", "CNFL error", "grey", "+-", "s/frame")
    lines = ["{:8} {:>6} {:>7} {:>12} {:>11} {:>6} {:>6} {:>8}".format(*head)]
    for name, row in [*figures["cohorts"].items(), ("all", figures)]:
        peer = "-" if row["mask_f1_superccm"] is None else f"{row['mask_f1_superccm']:.3f}"
        lines.append(
            f"{name:8} {row['mask_f1']:6.3f} {row['mask_f1_lowest']:7.3f} {peer:>12} "
            f"{row['cnfl_error']:11.1%} {row['grey_mean']:6.3f} {row['grey_std']:6.3f} "
            f"{row['seconds_per_frame']:8.2f}"
        )
    return "\n".join(lines)


def save_sheet(masks: Sequence[Mask], frames: Sequence[Frame]) -> None:
    """Save the first masks, each beside its frames of the three cohorts."""
    picture = {(frame.cohort, frame.number): frame.grey for frame in frames}
    rows = [
        [mask.nerve.astype(np.uint8) * 255, *(picture[cohort, mask.number] for cohort in COHORTS)]
        for mask in masks[:SHEET_ROWS]
    ]
    picture_grid(["mask", *(cohort.value for cohort in COHORTS)], rows).save(FOLDER / "sheet.png")
