"""One frame or mask on disk to one row of numbers, and rows to averages per eye and per patient.

A row holds text, ready for CSV: empty where a value does not exist. Numbers of different tools, versions or networks
are not interchangeable, so each row says which made it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .dataset.folder import write_whole
from .dataset.marks import encode
from .errors import CCMError, DataError
from .frames.listing import list_frames
from .frames.reading import read_frame, read_mask
from .frames.record import Record
from .images import check_um_per_px
from .masks import check_is_mask
from .morphometry.biomarkers import NerveBiomarkers, measure_nerves
from .morphometry.overlay import backgrounds, draw_overlay
from .morphometry.report import TOOL, UNITS, VERSION
from .segmentation import Network, segment_nerves

BIOMARKERS = tuple(UNITS)
COLUMNS = (
    *("frame", "patient", "eye", "cohort", "um_per_px"),
    *BIOMARKERS,
    *("quality", "error", "tool", "version", "network", "sha256"),
)
MADE_BY = ("tool", "version", "network")
GROUP_COLUMNS = ("patient", "eye", "cohort", "frames", "frames_used", *BIOMARKERS, *MADE_BY, "reference")
OVERLAY_MARK = "ccm"  # the text chunk of an overlay that tells its identity
MASKS = "masks"  # instead of a network's hash, where masks were measured
REFERENCE = (
    "CNFL in type 1 diabetes: neuropathy likely at 11.5 mm/mm2 or less, unlikely at 15.8 or more, best single "
    "threshold 14.0 (Ahmed et al. 2012, manual tracing; not made for the numbers of this tool)"
)
Row = dict[str, str]


@dataclass(frozen=True)
class Task:
    """A file to measure, what its table or folder tells of it, and where a picture of its nerves is wanted."""

    path: Path
    is_mask: bool
    patient: str = ""
    eye: str = ""
    cohort: str = ""
    um_per_px: float = 400 / 384
    overlay: Path | None = None


def list_tasks(paths: Iterable[Path], masks: bool, um_per_px: float | None) -> list[Task]:
    """List what lies at the paths, each file once: frames, or with `masks` their masks (else the files themselves).

    Raises DataError for a path without pictures and PixelSizeError for frames of unknown pixel size.
    """
    tasks: dict[Path, Task] = {}
    for path in paths:
        found = list_frames(path, um_per_px=um_per_px)
        has_masks = any(record.mask for record in found.records) or bool(found.orphan_masks)
        for record in found.records:
            file = record.mask if masks and has_masks else record.frame
            if file is not None:
                tasks[file] = task_of(record, file, masks)
        for mask in found.orphan_masks if masks else ():
            tasks[mask] = Task(mask, True, um_per_px=um_per_px or Task.um_per_px)
    return list(tasks.values())


def with_overlays(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """The tasks with an overlay each: PNG files below a folder, arranged as the measured files are.

    Files that differ in their ending only, as `a.png` and `a.tif`, keep it: `a.png.png`, `a.tif.png`. Raises DataError
    where an overlay would replace a measured file, and for files on several drives.
    """
    paths = [Path(os.path.abspath(task.path)) for task in tasks]
    try:
        root = Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError as error:
        raise DataError("The files lie on several drives", fix="measure each drive by itself") from error
    stems = Counter(path.with_suffix("") for path in paths)
    names = [path.stem if stems[path.with_suffix("")] == 1 else path.name for path in paths]
    places = [path.relative_to(root).parent for path in paths]
    files = [folder / place / f"{name}.png" for place, name in zip(places, names, strict=True)]
    if taken := {file.resolve() for file in files} & {path.resolve() for path in paths}:
        raise DataError(
            f"An overlay would replace {min(taken)}", fix="name a folder of its own with --overlays"
        )
    return [replace(task, overlay=file) for task, file in zip(tasks, files, strict=True)]


def task_of(record: Record, file: Path, is_mask: bool) -> Task:
    """The task to measure one of a record's files."""
    cohort = record.cohort.value if record.cohort else ""
    return Task(file, is_mask, record.patient or "", record.eye or "", cohort, record.um_per_px)


def measure_file(task: Task, network: Network | None) -> Row:
    """Measure a file and draw its overlay, if one is wanted.

    A problem of the file, its pixel size or the overlay becomes the row's `error`, never an exception.
    """
    row = _empty_row(task) | identity(task, network)
    try:
        grey, mask, quality = _traced(task, network)
        measured = measure_nerves(mask, task.um_per_px)
        if task.overlay:
            _write_overlay(task, grey, measured, identity(task, network))
    except CCMError as error:
        return row | {"error": str(error)}
    except Exception as error:  # whatever one file does must not end a run over thousands
        return row | {"error": f"{type(error).__name__}: {error}"}
    return row | {name: _text(getattr(measured, name)) for name in BIOMARKERS} | {"quality": quality}


def failed_row(task: Task, error: str) -> Row:
    """The row of a file that could not be measured."""
    return _empty_row(task) | {"error": error}


def identity(task: Task, network: Network | None) -> Row:
    """What makes two measurements of a file the same one: content, pixel size, tool, version and network."""
    return {
        "um_per_px": f"{task.um_per_px:.6g}",
        "tool": TOOL,
        "version": VERSION,
        "network": MASKS if task.is_mask or network is None else network.weights_hash[:12],
        "sha256": _fingerprint(task.path),
    }


def _empty_row(task: Task) -> Row:
    known = {"frame": str(task.path), "patient": task.patient, "eye": task.eye, "cohort": task.cohort}
    return dict.fromkeys(COLUMNS, "") | known


def _traced(task: Task, network: Network | None) -> tuple[np.ndarray, np.ndarray, str]:
    """What an overlay is drawn on, grey [H,W]; the nerves, bool [H,W]; and what speaks against the frame."""
    check_um_per_px(task.um_per_px)
    if task.is_mask:
        mask = read_mask(task.path)
        check_is_mask(mask, task.path.name)
        return backgrounds(mask[None], None)[0], mask > 0.5, ""
    grey = read_frame(task.path)
    found = segment_nerves(grey[None], task.um_per_px, network)
    return grey, found.mask[0], ", ".join(map(str, found.quality[0].reasons))


def _write_overlay(task: Task, grey: np.ndarray, measured: NerveBiomarkers, told: Row) -> None:
    assert task.overlay is not None
    picture = np.round(255.0 * draw_overlay(grey, measured, task.um_per_px)).astype(np.uint8)
    write_whole(task.overlay, encode(picture, {OVERLAY_MARK: json.dumps(told)}))


def overlay_is_current(task: Task, told: Row) -> bool:
    """Whether no overlay is wanted, or the one that lies there shows this measurement."""
    from PIL import Image

    if task.overlay is None:
        return True
    try:
        with Image.open(task.overlay) as picture:
            return json.loads(picture.info.get(OVERLAY_MARK, "{}")) == told
    except OSError:
        return False


def _fingerprint(path: Path) -> str:
    """The first 16 digits of a file's SHA-256, empty where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def average_eyes(rows: Sequence[Mapping[str, str]]) -> list[Row]:
    """Average the frames of each eye of each patient; those with an error or a quality problem do not count."""
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        if row["patient"]:
            groups[row["patient"], row["eye"]].append(row)
    return [
        _average(frames, {"patient": patient, "eye": eye})
        for (patient, eye), frames in sorted(groups.items())
    ]


def average_patients(eyes: Sequence[Mapping[str, str]]) -> list[Row]:
    """Average the eyes of each patient, each eye with the same weight."""
    groups: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for eye in eyes:
        groups[eye["patient"]].append(eye)
    averages = []
    for patient, members in groups.items():
        counts = {key: str(sum(int(eye[key]) for eye in members)) for key in ("frames", "frames_used")}
        used = [eye for eye in members if int(eye["frames_used"])] or members
        known = {"patient": patient, "eye": "both" if len(used) > 1 else used[0]["eye"]}
        averages.append(_mean_row(members, known | counts | {"cohort": members[0]["cohort"]}))
    return averages


def _average(frames: list[Mapping[str, str]], known: Row) -> Row:
    used = [row for row in frames if not row["error"] and not row["quality"]]
    counts = {"frames": str(len(frames)), "frames_used": str(len(used)), "cohort": frames[0]["cohort"]}
    return _mean_row(used, known | counts)


def _mean_row(rows: Sequence[Mapping[str, str]], known: Row) -> Row:
    means = {name: _mean([row[name] for row in rows]) for name in BIOMARKERS}
    made_by = {name: ", ".join(sorted({row[name] for row in rows} - {""})) for name in MADE_BY}
    return dict.fromkeys(GROUP_COLUMNS, "") | known | means | made_by | {"reference": REFERENCE}


def _mean(cells: list[str]) -> str:
    values = [float(cell) for cell in cells if cell]
    return f"{sum(values) / len(values):.6g}" if values else ""
