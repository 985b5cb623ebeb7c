"""How public data sets, and folders of a user's own, are laid out: what their file names say of a frame.

Sources: Qilu CCM, Zenodo record 18779434; CORN-1, Zenodo record 19689814; the nerve set of the University of
Padova (Scarpa, Grisan and Ruggeri 2008). The last two do not say which participant a frame is of. Padova's
Normal and NonNormal are no cohorts of type 1 diabetes, so its frames have none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..cohorts import Cohort, parse_cohort
from ..errors import CohortError, DataError, ImageError, PixelSizeError
from ..images import ASPECT_TOLERANCE, FIELD_UM, UM_PER_PX
from .pairing import Pairs
from .reading import frame_size
from .record import SPLIT_NAMES, Record

_QILU = re.compile(r"(\d{3})\d{2}")  # set (1) and participant (2), then image (2)
_PADOVA = re.compile(r"I(?:mm|\d{2})\d{2,3}_(?:Normal|NonNormal)", re.IGNORECASE)
PADOVA_UM_PER_PX = math.sqrt(460.0 * 350.0 / (768 * 576))  # keeps areas; the sides differ from it by 0.7 %


@dataclass(frozen=True)
class Layout:
    """A way to lay out a data set.

    read gives what the name of a frame (with the folder named by the user, and its mask) tells, or None where
    the name does not fit. um_per_px is None where the size of each frame tells.
    """

    name: str
    about: str
    read: Callable[[Path, Path, Path | None], Record | None]
    um_per_px: float | None


def recognise(pairs: Pairs) -> Layout:
    """Return the first layout that at least half of the frames fit."""
    return next(layout for layout in LAYOUTS if 2 * sum(map(bool, _read(layout, pairs))) >= len(pairs.pairs))


def find_layout(name: str) -> Layout:
    """Return the layout of that name; raises DataError naming the known ones."""
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise DataError(f"Unknown layout {name!r}", fix=f"use auto, table, {', '.join(x.name for x in LAYOUTS)}")


def read_pairs(layout: Layout, pairs: Pairs, um_per_px: float | None) -> list[Record]:
    """Return a record for every pair, its pixel size as told or as the layout or the frame has it.

    Raises DataError where a frame's name does not fit, and PixelSizeError where the pixel size is unknown.
    """
    found = _read(layout, pairs)
    misfits = [frame for frame, record in zip(pairs.frames, found, strict=True) if record is None]
    if misfits:
        raise DataError(
            f"{pairs.root} is read as {layout.name} ({layout.about}), but {name_files(misfits, pairs.root)} does "
            "not fit",
            fix="move it elsewhere, list the frames in a table.csv, or choose the layout folder",
        )
    told = layout.um_per_px if um_per_px is None else um_per_px
    return [with_pixel_size(record, told) for record in found if record]


def with_pixel_size(record: Record, told: float | None) -> Record:
    """Set a record's pixel size as told, else take a square frame for one field of 400 um.

    A frame that cannot be read keeps its record, so that whoever loads it can name it. Raises PixelSizeError for
    a frame that is not square.
    """
    if told is not None:
        return replace(record, um_per_px=told)
    try:
        width, height = frame_size(record.frame)
    except ImageError:
        return record
    if abs(width / height - 1) > ASPECT_TOLERANCE:
        raise PixelSizeError(
            f"{record.frame} is {width} x {height} pixels, which is not one field of 400 x 400 um; "
            "its pixel size is unknown",
            fix="give its um per pixel (um_per_px), or list the frames in a table.csv with that column",
        )
    return replace(record, um_per_px=FIELD_UM / width)


def name_files(files: Sequence[Path], root: Path, most: int = 3) -> str:
    """Name the first few of many files, relative to root where they lie below it."""
    names = [str(file.relative_to(root)) if file.is_relative_to(root) else str(file) for file in files[:most]]
    rest = len(files) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def _read(layout: Layout, pairs: Pairs) -> list[Record | None]:
    return [layout.read(pairs.root, frame, mask) for frame, mask in pairs.pairs]


def _qilu(root: Path, frame: Path, mask: Path | None) -> Record | None:
    named = _QILU.fullmatch(frame.stem)
    fits = named and frame.parent.name.lower() == "images"
    return Record(frame, mask, patient=named[1]) if named and fits else None


def _corn1(root: Path, frame: Path, mask: Path | None) -> Record | None:
    split, folder = (part.lower() for part in frame.parts[-3:-1])
    fits = split in SPLIT_NAMES and folder.endswith("_images")
    return Record(frame, mask, split=SPLIT_NAMES[split]) if fits else None


def _padova(root: Path, frame: Path, mask: Path | None) -> Record | None:
    return Record(frame, mask) if _PADOVA.fullmatch(frame.stem) else None


def _folder(root: Path, frame: Path, mask: Path | None) -> Record:
    return Record(frame, mask, cohort=_cohort_of(root, frame))


def _cohort_of(root: Path, frame: Path) -> Cohort | None:
    """Return the cohort that a folder on the way to the frame is named after."""
    for part in reversed(frame.relative_to(root).parts[:-1]):
        try:
            return parse_cohort(part)
        except CohortError:
            continue
    return None


LAYOUTS: tuple[Layout, ...] = (
    Layout("qilu", "Qilu CCM: images and annotations, named by set, participant, image", _qilu, UM_PER_PX),
    Layout("corn1", "CORN-1: training, val and test with *_images and *_mask", _corn1, UM_PER_PX),
    Layout("padova", "Padova nerve set: ImmNN_Normal or NonNormal, 460 x 350 um", _padova, PADOVA_UM_PER_PX),
    Layout("folder", "a folder of frames, with masks beside them and cohorts as folder names", _folder, None),
)
