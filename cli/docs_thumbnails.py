"""The thumbnails of the templates: frames of the embedded family, phantoms, and what is measured of both."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..ccm.cohorts import Cohort
from ..ccm.images import FIELD_PX, UM_PER_PX
from ..ccm.phantom.request import MaskRequest, generate_masks
from ..ccm.phantom.tree import TreeTargets
from ..ccm.plots.canvas import BLUE, FAINT, INK, ORANGE, Axis, Canvas, Colour
from ..host.paths import ROOT

if TYPE_CHECKING:
    from ..batch.client import Client, Graph
    from ..ccm.morphometry.biomarkers import NerveBiomarkers

TEMPLATES, GRAPH = ROOT / "workflows", ROOT / "workflows" / "api" / "generate.json"
SIDE, BAR = 384, 64
FRAMES = 4  # of each cohort
CANDIDATES = 16 * FRAMES  # of each cohort; those at even steps of CNFL are shown, so that few stand for all
SEEDS = {
    cohort: range(start, start + CANDIDATES) for cohort, start in zip(Cohort, (0, 1000, 2000), strict=True)
}
SHOWN = 2  # of the frames of a cohort, where one is shown
STEPS = 20  # as in the templates
FROM_COHORT = TreeTargets(0.0, 0.0, 0.0, 0.0)
GREEN: Colour = (0, 158, 115)
COLOURS = dict(zip(Cohort, (BLUE, GREEN, ORANGE), strict=True))
NIGHT, PALE, WHITE = (16, 26, 46), (184, 198, 218), (255, 255, 255)
Dots = Sequence[tuple[Colour, Sequence[float]]]  # side by side over one label


@dataclass(frozen=True)
class Material:
    """What is drawn from: frames by cohort, one of them without adapter, and phantoms, all in 0..1."""

    frames: Mapping[Cohort, np.ndarray]  # [FRAMES,384,384]
    bare: np.ndarray  # [384,384], the frame of T1DPN that is shown, by the base alone
    phantoms: Mapping[Cohort, np.ndarray]


def write(folder: Path) -> list[Path]:
    """Write a JPEG beside each template of a folder; starts a ComfyUI for the frames."""
    from PIL import Image

    material = Material(*generated(), {cohort: _phantoms(cohort) for cohort in Cohort})
    drawn = {name: draw(material) for name, draw in DRAWN.items()}
    drawn |= {file.stem: _foundation(file) for file in folder.glob("*.json") if file.stem not in DRAWN}
    written = []
    for name, picture in sorted(drawn.items()):
        written.append(folder / f"{name}.jpg")
        levels = np.round(255.0 * np.clip(picture, 0.0, 1.0)).astype(np.uint8)
        Image.fromarray(levels).save(written[-1], quality=85, optimize=True)
    return written


def generated() -> tuple[dict[Cohort, np.ndarray], np.ndarray]:
    """Frames of each cohort by the embedded family, and one by the base without its adapter."""
    from ..batch.client import Client
    from ..host import locate, server

    with server.running(locate.ready(Path(sys.executable))) as comfy, Client(comfy.address) as client:
        frames = {c: np.stack([_frame(client, c, seed, 1.0) for seed in _mask_seeds(c)]) for c in Cohort}
        return frames, _frame(client, Cohort.T1DPN, _mask_seeds(Cohort.T1DPN)[SHOWN], 0.0)


def _frame(client: Client, cohort: Cohort, seed: int, strength: float) -> np.ndarray:
    from PIL import Image

    graph: Graph = json.loads(GRAPH.read_text("utf-8"))
    graph["mask"]["inputs"] |= {"cohort": cohort.value, "seed": seed}
    graph["prompt"]["inputs"]["cohort"] = cohort.value
    graph["adapter"]["inputs"]["strength"] = strength
    graph["sample"]["inputs"] |= {"seed": seed, "steps": STEPS}
    content = client.fetch(client.run(graph).files("saved")[0])
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=np.float32) / 255.0


def _mask(cohort: Cohort, seed: int) -> np.ndarray:
    """The mask that `_frame` is made from, [384,384]."""
    return generate_masks(MaskRequest(cohort.value, FROM_COHORT, 1, seed, FIELD_PX, 3.0)).masks[0]


@cache
def _mask_seeds(cohort: Cohort) -> list[int]:
    return _even(SEEDS[cohort], [float(_mask(cohort, seed).sum()) for seed in SEEDS[cohort]])


def _even(seeds: Sequence[int], amounts: Sequence[float]) -> list[int]:
    """The seeds in the middle of FRAMES equal shares of the amounts."""
    ordered = [seed for _, seed in sorted(zip(amounts, seeds, strict=True))]
    step = len(ordered) // FRAMES
    return ordered[step // 2 :: step]


def _phantoms(cohort: Cohort) -> np.ndarray:
    from ..ccm.phantom.render import render, sample_appearance
    from ..ccm.phantom.topology import grow_tree, sample_targets

    seeds = [seed + CANDIDATES for seed in SEEDS[cohort]]  # other nerves than those of the frames
    wanted = [sample_targets(cohort, np.random.default_rng(seed)).cnfl_mm_per_mm2 for seed in seeds]
    frames = []
    for seed in _even(seeds, wanted):
        rng = np.random.default_rng(seed)
        tree = grow_tree(sample_targets(cohort, rng), rng)
        frames.append(render(tree, sample_appearance(cohort, rng), rng))
    return np.stack(frames)


def first_steps(made: Material) -> np.ndarray:
    return _half_traced(made.frames[Cohort.CONTROL][SHOWN])[0]


def measure_my_frames(made: Material) -> np.ndarray:
    picture, measured = _half_traced(made.phantoms[Cohort.CONTROL][SHOWN])
    return _with_bar(
        picture, f"CNFL {measured.cnfl_mm_per_mm2:.1f} mm/mm2", f"CNFD {measured.cnfd_per_mm2:.0f} /mm2"
    )


def cohort_comparison(made: Material) -> np.ndarray:
    values = {c.value: [(COLOURS[c], _cnfl(frames))] for c, frames in made.frames.items()}
    return _plot([frames[SHOWN] for frames in made.frames.values()], values)


def real_against_synthetic(made: Material) -> np.ndarray:
    values = {c.value: [(BLUE, _cnfl(made.phantoms[c])), (ORANGE, _cnfl(made.frames[c]))] for c in Cohort}
    pairs = [
        np.concatenate([made.phantoms[c][SHOWN][:, :192], made.frames[c][SHOWN][:, 192:]], axis=1)
        for c in Cohort
    ]
    return _plot(pairs, values, "CNFL, mm/mm2: phantoms blue, generated orange")


def data_set_overnight(made: Material) -> np.ndarray:
    return _grid([list(frames[:3]) for frames in made.frames.values()], [])


def train_an_adapter(made: Material) -> np.ndarray:
    pair = [_mask(Cohort.CONTROL, _mask_seeds(Cohort.CONTROL)[SHOWN]), made.frames[Cohort.CONTROL][SHOWN]]
    rows = [pair, [made.bare, made.frames[Cohort.T1DPN][SHOWN]]]
    return _grid(rows, ["mask", "frame to train on", "without adapter", "with adapter"])


DRAWN = {
    draw.__name__: draw
    for draw in (
        first_steps,
        measure_my_frames,
        cohort_comparison,
        real_against_synthetic,
        data_set_overnight,
        train_an_adapter,
    )
}


def _foundation(template: Path) -> np.ndarray:
    """The mask as the control net of the template gets it, and the name of the base."""
    from ..ccm.control import MaskStyle, draw_masks

    nodes = json.loads(template.read_text("utf-8"))["nodes"]
    values = {node["type"]: node.get("widgets_values") for node in nodes}
    style = MaskStyle(values.get("CCM_ApplyNerveMaskControl", [MaskStyle.NERVES])[-1])
    picture = draw_masks(_mask(Cohort.CONTROL, _mask_seeds(Cohort.CONTROL)[SHOWN])[None], style)[0]
    return _with_bar(picture, values["CCM_LoadFoundation"][0], "nerve mask to frame; weights to be fetched")


def _half_traced(frame: np.ndarray) -> tuple[np.ndarray, NerveBiomarkers]:
    """A frame, traced below the diagonal, [384,384,3], and what was measured."""
    import cv2

    from ..ccm.morphometry.overlay import draw_overlay

    measured = _measured(frame[None])[0]
    overlay = draw_overlay(frame, measured, UM_PER_PX)
    square = cv2.resize(
        overlay[: overlay.shape[1]].astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    return np.where((x + y < SIDE)[..., None], frame[..., None], square), measured


def _measured(frames: np.ndarray) -> list[NerveBiomarkers]:
    from ..ccm.morphometry.biomarkers import measure_batch
    from ..ccm.segmentation import load_segmenter, segment_nerves

    masks = segment_nerves(frames, UM_PER_PX, load_segmenter()).mask.astype(np.float32)
    return list(measure_batch(masks, UM_PER_PX, None))


def _cnfl(frames: np.ndarray) -> list[float]:
    return [measured.cnfl_mm_per_mm2 for measured in _measured(frames)]


def _with_bar(picture: np.ndarray, title: str, line: str) -> np.ndarray:
    """A picture with two lines of text over its lower edge."""
    canvas = Canvas(SIDE, BAR)
    canvas.box((0, 0), (SIDE, BAR), NIGHT)
    canvas.text((14, 24), title, colour=WHITE, size_px=22)
    canvas.text((14, 48), line, colour=PALE, size_px=14)
    return np.concatenate([picture[: SIDE - BAR], canvas.array()])


def _grid(rows: list[list[np.ndarray]], captions: list[str]) -> np.ndarray:
    """Frames row by row, with captions in their lower left corners where there are some."""
    canvas = Canvas(SIDE, SIDE)
    side = SIDE // len(rows[0])
    for number, frame in enumerate(frame for row in rows for frame in row):
        x, y = number % len(rows[0]) * side, number // len(rows[0]) * side
        canvas.paste(frame, (x, y), side)
        if captions:
            canvas.box((x, y + side - 26), (x + side, y + side), NIGHT)
            canvas.text((x + 8, y + side - 13), captions[number], colour=WHITE, size_px=15)
    return canvas.array()


def _plot(strip: list[np.ndarray], values: Mapping[str, Dots], title: str = "CNFL, mm/mm2") -> np.ndarray:
    """A strip of frames over the values of each label: a dot for each frame, a bar for the mean."""
    canvas = Canvas(SIDE, SIDE)
    side = SIDE // len(strip)
    for number, frame in enumerate(strip):
        canvas.paste(frame, (number * side, 0), side)
    canvas.text((16, side + 20), title, size_px=16)
    axis = Axis.around(
        [v for dots in values.values() for _, group in dots for v in group], SIDE - 36, side + 44
    )
    for tick in axis.ticks():
        canvas.line([(44, axis(tick)), (SIDE - 12, axis(tick))], FAINT)
        canvas.text((36, axis(tick)), f"{tick:g}", "rm")
    step = (SIDE - 60) / len(values)
    for number, (label, dots) in enumerate(values.items()):
        middle = 48 + step * (number + 0.5)
        canvas.text((middle, SIDE - 16), label, "mm", size_px=16)
        for place, (colour, group) in enumerate(dots):
            _draw_dots(canvas, axis, middle + 40 * (place - (len(dots) - 1) / 2), group, colour)
    return canvas.array()


def _draw_dots(canvas: Canvas, axis: Axis, middle: float, values: Sequence[float], colour: Colour) -> None:
    for number, value in enumerate(values):
        canvas.dot((middle + 8 * (number - (len(values) - 1) / 2), axis(value)), colour, 4.0)
    mean = axis(float(np.mean(values)))
    canvas.line([(middle - 18, mean), (middle + 18, mean)], INK, 2.0)
