"""A phantom data set in the trainer's own layout: patients with several frames each, and a table of them.

A patient has biomarkers of its own, drawn from the cohort; frames vary about them. The share of the variance that
lies between patients is assumed, after the intraclass correlations of 0.7 to 0.9 that repeated frames of one eye
usually have. Main fibres run alike in all frames of one eye.
"""

from __future__ import annotations

import io
import json
import math
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...ccm.cohorts import REFERENCES, Cohort
from ...ccm.errors import TargetError, TrainingError
from ...ccm.frames.record import Record
from ...ccm.frames.table import TABLE_NAME, as_csv
from ...ccm.images import FIELD_PX, FIELD_UM
from ...ccm.parallel import map_processes
from ...ccm.phantom.mask import check_drawing, draw_mask
from ...ccm.phantom.render import Appearance, render, sample_appearance
from ...ccm.phantom.topology import NerveTree, TreeTargets, grow_tree, sample_targets
from .split import split_records

BETWEEN_PATIENTS = 0.8  # share of the variance
EYES = ("OD", "OS")
HEADING_SPREAD_DEG = 8.0  # of the frames of one eye
MASK_WIDTH_PX = 3.0  # in a field of FIELD_PX
FRACTIONS = (0.7, 0.15, 0.15)
MOST_DRAWS = 50
REQUEST_NAME = "phantoms.json"
_PATIENT, _EYE, _FRAME = 5, 6, 7  # keep the streams of random numbers apart


@dataclass(frozen=True)
class PhantomRequest:
    """How many patients, with how many frames each; cohorts take turns, and so do the eyes."""

    patients: int
    frames: int
    seed: int = 0
    size_px: int = FIELD_PX


@dataclass(frozen=True)
class PhantomFrame:
    """One frame to make: the numbers that fix it, and the record that names its files below the folder."""

    patient: int
    frame: int
    record: Record


def write_phantoms(request: PhantomRequest, folder: Path, workers: int | None = None) -> Path:
    """Write frames, masks and their table below a folder, and return the table.

    Each file depends on the request alone, is written in one go, and is kept if it is there, so that a stopped
    run goes on; the table comes last. Raises TrainingError for a folder that another request began, for counts
    that are too small to split, and MaskError for a size that cannot be drawn.
    """
    from tqdm import tqdm

    check_drawing(request.size_px, MASK_WIDTH_PX)
    plan = plan_frames(request)
    _claim(folder, request)
    missing = [item for item in plan if not (folder / item.record.frame).is_file()]
    made = map_processes(partial(_make, request, folder), missing, workers)
    with closing(made), tqdm(total=len(plan), unit="frame", disable=None) as bar:
        bar.update(len(plan) - len(missing))
        for _ in made:
            bar.update()
    _write(folder / TABLE_NAME, as_csv([item.record for item in plan]).encode())
    return folder / TABLE_NAME


def plan_frames(request: PhantomRequest) -> list[PhantomFrame]:
    """Name every frame of a request, with its cohort, patient, eye and split; raises TrainingError."""
    if request.patients < 3 or request.frames < 1:
        raise TrainingError(
            f"Asked for {request.patients} patients with {request.frames} frames",
            fix="ask for at least 3 patients, one for each set, with one frame",
        )
    cohorts, um_per_px = tuple(Cohort), FIELD_UM / request.size_px
    plan = []
    for patient in range(request.patients):
        for frame in range(request.frames):
            eye, name = EYES[2 * frame // request.frames], f"P{patient + 1:04}"
            file = f"{name}_{eye}_{frame + 1:03}.png"
            cohort = cohorts[patient % len(cohorts)]
            paths = Path("frames", file), Path("masks", file)
            plan.append(PhantomFrame(patient, frame, Record(*paths, cohort, name, eye, None, um_per_px)))
    splits = split_records([item.record for item in plan], FRACTIONS, request.seed, allow_image_split=False)
    names = {record.patient: name for name, members in splits.named().items() for record in members}
    return [replace(i, record=replace(i.record, split=names[i.record.patient])) for i in plan]


def draw_phantom(request: PhantomRequest, item: PhantomFrame) -> tuple[np.ndarray, np.ndarray, NerveTree]:
    """Return frame and mask, uint8 [S,S], and the tree behind them."""
    cohort = item.record.cohort
    assert cohort is not None
    own = np.random.default_rng([_PATIENT, request.seed, item.patient])
    targets, look = sample_targets(cohort, own), sample_appearance(cohort, own)
    eye = np.random.default_rng([_EYE, request.seed, item.patient, EYES.index(str(item.record.eye))])
    heading = eye.normal(90.0, 40.0)
    rng = np.random.default_rng([_FRAME, request.seed, item.patient, item.frame])
    tree = _grow(cohort, targets, heading + rng.normal(0.0, HEADING_SPREAD_DEG), rng)
    size = (request.size_px, request.size_px)
    frame = render(tree, _frame_look(cohort, look, rng), rng, size, FIELD_UM / request.size_px)
    mask = draw_mask(tree, size, MASK_WIDTH_PX * request.size_px / FIELD_PX)
    return np.round(frame * 255).astype(np.uint8), np.where(mask >= 128, 255, 0).astype(np.uint8), tree


def mix_targets(cohort: Cohort, patient: TreeTargets, frame: TreeTargets) -> TreeTargets:
    """Put a frame about its patient: both deviate from the cohort's mean m,

        x = m + sqrt(b) (patient - m) + sqrt(1 - b) (frame - m),   b = BETWEEN_PATIENTS,

    so that frames have the cohort's variance, a share b of it between patients.
    """
    means = REFERENCES[cohort]

    def mix(mean: float, of_patient: float, of_frame: float) -> float:
        between = math.sqrt(BETWEEN_PATIENTS) * (of_patient - mean)
        return mean + between + math.sqrt(1 - BETWEEN_PATIENTS) * (of_frame - mean)

    return TreeTargets(
        mix(means.cnfl_mm_per_mm2.mean, patient.cnfl_mm_per_mm2, frame.cnfl_mm_per_mm2),
        mix(means.cnfd_per_mm2.mean, patient.cnfd_per_mm2, frame.cnfd_per_mm2),
        max(0.0, mix(means.cnbd_per_mm2.mean, patient.cnbd_per_mm2, frame.cnbd_per_mm2)),
        max(0.5, mix(means.tortuosity_um.mean, patient.tortuosity, frame.tortuosity)),
    )


def _grow(cohort: Cohort, patient: TreeTargets, heading_deg: float, rng: np.random.Generator) -> NerveTree:
    """Grow a frame's tree; what cannot be grown is drawn again."""
    for _ in range(MOST_DRAWS):
        targets = mix_targets(cohort, patient, sample_targets(cohort, rng))
        try:
            return grow_tree(replace(targets, orientation_deg=heading_deg), rng)
        except TargetError:
            continue
    return grow_tree(replace(patient, orientation_deg=heading_deg), rng)


def _frame_look(cohort: Cohort, patient: Appearance, rng: np.random.Generator) -> Appearance:
    """Draw how a frame looks; contrast, width and beading of the nerves are the patient's own."""
    return replace(
        sample_appearance(cohort, rng),
        nerve_contrast=patient.nerve_contrast,
        width_factor=patient.width_factor,
        beading=patient.beading,
    )


def _make(request: PhantomRequest, folder: Path, item: PhantomFrame) -> None:
    """Draw and write one pair, the frame last: where it is, its mask is too."""
    frame, mask, tree = draw_phantom(request, item)
    record = item.record
    told = {"synthetic": True, "note": "synthetic, not for clinical use", "cohort": str(record.cohort)}
    told |= {"seed": request.seed, "truth": asdict(tree.truth)}
    assert record.mask is not None
    _write(folder / record.mask, _as_png(mask, told))
    _write(folder / record.frame, _as_png(frame, told))


def _claim(folder: Path, request: PhantomRequest) -> None:
    """Make the folders; refuse one that another request, or somebody else, has filled."""
    wanted = json.dumps(asdict(request), indent=2) + "\n"
    file = folder / REQUEST_NAME
    if (
        folder.is_dir()
        and any(folder.iterdir())
        and not (file.is_file() and file.read_text("utf-8") == wanted)
    ):
        raise TrainingError(
            f"{folder} is not empty and not begun by the same request",
            fix="name another folder, or repeat the command that began it",
        )
    for name in ("frames", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write(file, wanted.encode())


def _as_png(pixels: np.ndarray, told: dict[str, object]) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("ccm", json.dumps(told))
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", pnginfo=info)
    return content.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write a file in one go: a reader finds all of it or nothing."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
