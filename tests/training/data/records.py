"""Records and small data sets with planted faults."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.frames.record import Record
from PIL import Image

COHORTS = tuple(Cohort)
SIZE = 96


def records(patients: int, frames: int = 1, cohorts: tuple[Cohort | None, ...] = COHORTS) -> list[Record]:
    """Records without files: cohorts take turns."""
    return [
        Record(Path(f"{p}_{f}.png"), None, cohorts[p % len(cohorts)], f"P{p}")
        for p in range(patients)
        for f in range(frames)
    ]


def picture(seed: int, size: int = SIZE) -> np.ndarray:
    """Coarse noise [S,S] that differs from seed to seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (24, 24), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


class Folder:
    """A data set of six patients with two frames each, two patients per cohort, and a table of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[dict[str, str]] = []
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[:, 40:43] = 255
        for number in range(12):
            name, patient = f"{number:02}.png", number // 2
            save(root / "frames" / name, picture(number))
            save(root / "masks" / name, mask)
            split = "train" if patient < 3 else "validation" if patient == 3 else "test"
            self.rows.append(
                {
                    "frame": f"frames/{name}",
                    "mask": f"masks/{name}",
                    "cohort": COHORTS[patient % 3].value,
                    "patient": f"P{patient}",
                    "split": split,
                }
            )

    def write(self) -> Path:
        with (self.root / "table.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        return self.root
