"""Files of a folder paired into frames and masks, by name."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .reading import SUFFIXES

_MASK = r"(?:masks?|annotations?|tracings?|labels?)"
_MASK_FOLDER = re.compile(rf"(?:.*[_\- ])?{_MASK}", re.IGNORECASE)
_FRAME_FOLDER = re.compile(r"(?:.*[_\- ])?(?:images?|frames?)", re.IGNORECASE)
_MASK_NAME = re.compile(rf"(.+?)[_\-]{_MASK}", re.IGNORECASE)


@dataclass(frozen=True)
class Pairs:
    """Frames of the folder `root`, each with its mask or None, and the masks that no frame belongs to."""

    root: Path
    pairs: tuple[tuple[Path, Path | None], ...]
    orphan_masks: tuple[Path, ...]

    @property
    def frames(self) -> list[Path]:
        return [frame for frame, _ in self.pairs]


def find_pairs(root: Path) -> Pairs:
    """Pair the pictures under a folder, sorted by path; hidden files and folders are left out.

    A mask lies in a folder called, or ending in, masks, annotations, tracings or labels, or its name ends so; it
    belongs to the frame of the same name in the folder beside (images, frames), or above, or in the same one.
    Raises DataError for a folder without pictures, and for two frames or two masks that claim one another.
    """
    masks: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    frames: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file in _pictures(root):
        (masks if _is_mask(file, root) else frames)[_key(file, root)].append(file)
    for claimants in (*masks.values(), *(files for key, files in frames.items() if key in masks)):
        if len(claimants) > 1:
            raise DataError(
                f"{claimants[0]} and {claimants[1].relative_to(root)} could be the same pair",
                fix="give them different names, or list the pairs in a table.csv",
            )
    pairs = [(file, masks.get(key, [None])[0]) for key, files in frames.items() for file in files]
    orphans = [files[0] for key, files in masks.items() if key not in frames]
    return Pairs(root, tuple(sorted(pairs, key=lambda pair: pair[0])), tuple(sorted(orphans)))


def _pictures(root: Path) -> list[Path]:
    found = [file for file in sorted(root.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file()]
    shown = [file for file in found if not _is_hidden(file.relative_to(root))]
    if not shown:
        raise DataError(
            f"{root} holds no pictures",
            fix=f"name a folder or a table of {', '.join(sorted(SUFFIXES))} files",
        )
    return shown


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def _is_mask(file: Path, root: Path) -> bool:
    folders = file.relative_to(root).parts[:-1]
    return any(map(_MASK_FOLDER.fullmatch, folders)) or _MASK_NAME.fullmatch(file.stem) is not None


def _key(file: Path, root: Path) -> tuple[str, ...]:
    """What a frame and its mask have in common: their path without what says which of the two it is."""
    kept = [
        p
        for p in file.relative_to(root).parts[:-1]
        if not (_MASK_FOLDER.fullmatch(p) or _FRAME_FOLDER.fullmatch(p))
    ]
    named = _MASK_NAME.fullmatch(file.stem)
    return (*kept, named[1] if named else file.stem)
