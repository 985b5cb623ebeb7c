"""Where an item's nerve mask comes from: first described in a few numbers, drawn when its turn comes.

A description fixes the mask and is cheap, so that a plan of any size is expanded in seconds; it names no file, so that
no name of a patient can get into the data set.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..ccm.cohorts import parse_cohort
from ..ccm.dataset.marks import encode
from ..ccm.errors import CohortError, DataError, PlanError, TargetError
from ..ccm.phantom.request import CUSTOM, MaskRequest, generate_masks
from ..ccm.phantom.tree import TreeTargets
from .plan import CohortPlan, Plan

Spec = dict[str, Any]
CANDIDATES = 8  # rows of a table that are tried until a tree with these numbers grows
TABLE_COLUMNS = {"cnfl": "cnfl_mm_per_mm2", "cnfd": "cnfd_per_mm2", "cnbd": "cnbd_per_mm2"}


class MaskSource(Protocol):
    """Describes the mask of an item, and draws it from the description."""

    def describe(self, cohort: str, index: int, seed: int) -> Spec: ...

    def draw(self, spec: Spec) -> bytes:
        """Return the mask as a PNG file, 0 and 255; raises CCMError where it cannot be drawn."""
        ...


def mask_source(plan: Plan) -> MaskSource:
    """Return the source that a plan names; raises PlanError or DataError for a path without masks or rows."""
    size, width = plan.dataset.size_px, plan.mask.width_px
    if plan.mask.source == "folder":
        return FolderMasks(_files(plan), size, width)
    if plan.mask.source == "table":
        return GrownMasks(plan.cohorts, size, width, rows=_rows(plan.mask_path, plan.cohorts))
    return GrownMasks(plan.cohorts, size, width, drawn=plan.mask.source == "reference")


@dataclass(frozen=True)
class GrownMasks:
    """Masks of grown nerve trees: by the cohort's distribution if `drawn`, by rows if there are any, or by targets."""

    cohorts: Mapping[str, CohortPlan]
    size_px: int
    width_px: float
    drawn: bool = False
    rows: dict[str, np.ndarray] | None = None  # cohort -> [N,3] CNFL, CNFD, CNBD

    def describe(self, cohort: str, index: int, seed: int) -> Spec:
        asked = self.cohorts[cohort]
        targets = {"cnfl": asked.cnfl, "cnfd": asked.cnfd, "cnbd": asked.cnbd, "tortuosity": asked.tortuosity}
        spec = {"seed": seed, "size_px": self.size_px, "width_px": self.width_px}
        if self.rows is not None:
            chosen = np.random.default_rng(seed).integers(len(self.rows[cohort]), size=CANDIDATES)
            drawn = [
                dict(zip(TABLE_COLUMNS, map(float, self.rows[cohort][row]), strict=True)) for row in chosen
            ]
            told = {name: value for name, value in targets.items() if value}
            return {"cohort": cohort, "targets": [targets | row | told for row in drawn], **spec}
        return {"cohort": cohort if self.drawn else CUSTOM, "targets": [targets], **spec}

    def draw(self, spec: Spec) -> bytes:
        problem: TargetError | None = None
        for targets in spec["targets"]:
            wanted = TreeTargets(*(targets[name] for name in ("cnfl", "cnfd", "cnbd", "tortuosity")))
            request = MaskRequest(spec["cohort"], wanted, 1, spec["seed"], spec["size_px"], spec["width_px"])
            try:
                mask = generate_masks(request).masks[0]
            except TargetError as error:
                problem = error
                continue
            return _png(mask)
        assert problem is not None
        raise problem


@dataclass(frozen=True)
class FolderMasks:
    """Masks of files, each cleaned and redrawn with one width; with more items than files they are used again."""

    files: dict[str, tuple[tuple[str, str], ...]]  # cohort -> (path, hash of its content)
    size_px: int
    width_px: float

    def describe(self, cohort: str, index: int, seed: int) -> Spec:
        files = self.files[cohort]
        return {"sha256": files[index % len(files)][1], "size_px": self.size_px, "width_px": self.width_px}

    def draw(self, spec: Spec) -> bytes:
        from ..ccm.frames.reading import read_mask
        from ..ccm.masks import prepare_masks

        path = next(path for files in self.files.values() for path, sha in files if sha == spec["sha256"])
        mask = prepare_masks(read_mask(Path(path))[None], spec["size_px"], spec["width_px"])[0]
        return _png(mask)


def _png(mask: np.ndarray) -> bytes:
    return encode(np.where(mask > 0.5, 255, 0).astype(np.uint8))


def _files(plan: Plan) -> dict[str, tuple[tuple[str, str], ...]]:
    """The masks of each cohort; those of unknown cohort serve every one that has none of its own."""
    from ..ccm.frames.listing import list_frames

    found = list_frames(plan.mask_path)
    masks = [(r.mask, r.cohort.value if r.cohort else None) for r in found.records if r.mask]
    masks += [(file, _named(file, plan.mask_path)) for file in found.orphan_masks]
    if not masks:  # a plain folder of masks
        masks = [(r.frame, r.cohort.value if r.cohort else None) for r in found.records]
    hashed = [(str(file), _sha256(file), cohort) for file, cohort in masks]
    files = {}
    for cohort in plan.cohorts:
        own = [(path, sha) for path, sha, of in hashed if of == cohort]
        files[cohort] = tuple(own or [(path, sha) for path, sha, of in hashed if of is None])
        if not files[cohort]:
            raise PlanError(
                f"{plan.mask_path} holds no masks for {cohort}",
                fix=f"put them into a folder called {cohort}, or leave the cohort out",
            )
    return files


def _named(file: Path, root: Path) -> str | None:
    """The cohort that a folder on the way to a mask is named after."""
    for part in file.relative_to(root).parts[:-1]:
        try:
            return parse_cohort(part).value
        except CohortError:
            continue
    return None


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror})", fix="check the folder of masks"
        ) from error


def _rows(path: Path, cohorts: Iterable[str]) -> dict[str, np.ndarray]:
    """CNFL, CNFD and CNBD of the rows of each cohort, those with an error or a quality problem left out."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table ({error})", fix="name a CSV table") from error
    missing = {"cohort", *TABLE_COLUMNS.values()} - set(lines[0] if lines else ())
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(sorted(missing))}",
            fix="make it by `python . measure FOLDER --out table.csv`, with a cohort for every frame",
        )
    usable = [line for line in lines if not (line.get("error") or line.get("quality"))]
    rows = {}
    for cohort in cohorts:
        own = [line for line in usable if line["cohort"].strip().lower() == cohort.lower()]
        values = [[line[column] for column in TABLE_COLUMNS.values()] for line in own]
        whole = [[float(cell) for cell in row] for row in values if all(row)]
        if not whole:
            raise DataError(
                f"{path} has no usable rows of {cohort}", fix="measure frames of it, or leave it out"
            )
        rows[cohort] = np.array(whole)
    return rows
