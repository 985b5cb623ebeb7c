"""The folder of a synthetic data set: where each frame and mask lies, written whole or not at all.

    manifest.jsonl              one line for each frame, rejected draws and failures included
    table.csv                   frame, mask, cohort, patient, eye, split: what `python . train` and `evaluate` read
    frames/COHORT/NAME.png      the frames; the folder frames/ is a PyTorch ImageFolder
    masks/COHORT/NAME.png       the nerve mask of each frame, under the same name
    dataset.json                the pairs of each split, as MONAI's load_decathlon_datalist reads them
    participants.tsv, dataset_description.json    in the manner of BIDS, as are the names of the files

Names follow BIDS for microscopy: sub-PATIENT_sample-EYE_run-NUMBER_CONF.png.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from . import manifest as m
from . import tables
from .marks import SYNTHETIC, decode, mark, sha256

EYES = ("OD", "OS")


@dataclass(frozen=True)
class Place:
    """What names a frame: letters and digits only, as BIDS wants it. The patient is an invented one."""

    cohort: str
    patient: str
    eye: str
    number: int

    @property
    def name(self) -> str:
        """The name of the item, and of its files without the ending."""
        return f"sub-{self.patient}_sample-{self.eye}_run-{self.number:03}"

    @property
    def frame(self) -> str:
        """Where its frame lies, relative to the data set."""
        return f"frames/{self.cohort}/{self.name}_CONF.png"

    @property
    def mask(self) -> str:
        """Where its mask lies, relative to the data set."""
        return f"masks/{self.cohort}/{self.name}_CONF.png"


@dataclass(frozen=True)
class Pictures:
    """A frame and the mask that it follows, as PNG files; a frame can do without a mask."""

    frame: bytes
    mask: bytes | None = None


class DatasetFolder:
    """A data set that grows; use it in a `with` statement, one process at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = m.Manifest(root / m.NAME)

    def __enter__(self) -> DatasetFolder:
        self.manifest.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.manifest.close()

    def done(self, *, rehash: bool = False) -> dict[str, str]:
        """Return what was asked for, the row's `request`, of every item whose files are there, by item.

        A file is there where its size is that of the manifest; with `rehash` its content is read and compared too.
        """
        return {row["item"]: row.get("request", "") for _, row in self._held(rehash)}

    def pixels(self) -> set[str]:
        """Return the hashes of the pixels of all frames that are there."""
        return {row["pixels_sha256"] for _, row in self._held(rehash=False)}

    def save(self, place: Place, pictures: Pictures, told: dict[str, Any]) -> m.Row:
        """Write frame and mask, marked as synthetic, and return the row for the manifest, `told` included."""
        known = {"item": place.name, "cohort": place.cohort, "patient": place.patient}
        known |= {"seed": told["seed"]} if "seed" in told else {}
        frame = mark(pictures.frame, known)
        pixels = decode(frame)
        row = {"item": place.name, "status": m.DONE, **SYNTHETIC, **told}
        row |= {"cohort": place.cohort, "patient": place.patient, "eye": place.eye}
        row |= {"file": place.frame, "bytes": len(frame), "sha256": sha256(frame)}
        row |= {"pixels_sha256": sha256(pixels.tobytes()), "size_px": list(pixels.shape[::-1])}
        if pictures.mask is not None:
            mask = mark(pictures.mask, {**known, "of": "mask of a synthetic frame"})
            row |= {"mask": place.mask, "mask_bytes": len(mask), "mask_sha256": sha256(mask)}
            write_whole(self.root / place.mask, mask)
        write_whole(self.root / place.frame, frame)
        return row

    def finish(self) -> int:
        """Write the tables for all finished items, in the order of their names; return how many there are."""
        places = {row["item"]: place for place, row in self._held(rehash=False)}
        rows = self.manifest.row_at(places[name] for name in sorted(places))
        return tables.write(self.root, rows)

    def _held(self, rehash: bool) -> Iterator[tuple[int, m.Row]]:
        for place, row in self.manifest.rows():
            if row["status"] == m.DONE and self.holds(row, rehash):
                yield place, row

    def holds(self, row: m.Row, rehash: bool) -> bool:
        """Whether the files of a finished row are there."""
        parts = [(row["file"], row["bytes"], row["sha256"])]
        if row.get("mask"):
            parts.append((row["mask"], row["mask_bytes"], row["mask_sha256"]))
        return all(self._matches(*part, rehash) for part in parts)

    def _matches(self, name: str, size: int, digest: str, rehash: bool) -> bool:
        try:
            if os.stat(f"{self.root}/{name}").st_size != size:  # a hundred thousand Paths would take seconds
                return False
        except FileNotFoundError:
            return False
        return not rehash or sha256((self.root / name).read_bytes()) == digest


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, whatever happens meanwhile; raises OSError, as for a full disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def check_label(name: str, text: str) -> str:
    """Return a text of letters and digits, as the names of files need it; raises DataError."""
    if not (text.isascii() and text.isalnum()):
        raise DataError(f"{name} is {text!r}", fix="use letters and digits only, for example SYN0001")
    return text
