"""A data set looked through before the first step: what would spoil a run is named, file by file."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...ccm.errors import ImageError
from ...ccm.frames.reading import has_footer
from ...ccm.frames.record import SPLITS, Record, load_frame, load_mask
from .duplicates import Near, find_near, perceptual_hash
from .split import Splits, shared_patients

UNIFORM = 1e-3  # standard deviation of a frame that shows nothing
INVERTED = 0.5  # share of nerve in a mask
UNASSIGNED = "unassigned"
NO_COHORT = "no cohort"
NAMED = 3


@dataclass(frozen=True)
class Looked:
    """What a pair of files holds: sizes are width and height in pixels, None where a file cannot be read."""

    size: tuple[int, int] | None = None
    mask_size: tuple[int, int] | None = None
    footer: bool = False
    signs: np.ndarray | None = None
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetReport:
    """Counts of a data set, what forbids to train on it (errors), and what a person should know (warnings)."""

    records: tuple[Record, ...]
    assigned: tuple[str, ...]  # the set of each record, UNASSIGNED where it has none
    looked: tuple[Looked, ...]
    near: tuple[Near, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    balance: dict[str, Counter[str]]  # frames by cohort and set

    @staticmethod
    def cohort_name(record: Record) -> str:
        """Return the name under which the balance counts a record."""
        return str(record.cohort or NO_COHORT)

    def patients_of(self, cohort: str) -> int:
        """Return how many patients are known in a cohort of the balance."""
        return len({r.patient for r in self.records if self.cohort_name(r) == cohort} - {None})


def check_records(
    records: Sequence[Record], splits: Splits | None = None, orphan_masks: Iterable[Path] = ()
) -> DatasetReport:
    """Read every file of a data set once and report on it; without splits, as the records assign themselves.

    Errors: files that cannot be read, frames without content, masks missing, orphaned, of another size or
    inverted, a cohort missing where others are given, a patient in two sets, near-duplicates across sets.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looked = tuple(pool.map(look, records))
    assigned = _assign(records, splits)
    hashed = [number for number, found in enumerate(looked) if found.signs is not None]
    pairs = find_near([signs for found in looked if (signs := found.signs) is not None])
    near = tuple(Near(hashed[a], hashed[b], bits) for a, b, bits in pairs)
    errors = [problem for found in looked for problem in found.problems]
    errors += [f"{mask} belongs to no frame" for mask in orphan_masks]
    errors += [*_missing(records), *_leaks(records, assigned), *_duplicates_across(records, assigned, near)]
    remarks = [remark for found in looked for remark in found.remarks]
    balance = _balance(records, assigned)
    warnings = [*remarks, *_warnings(records, assigned, looked, near), *_thin(balance)]
    return DatasetReport(tuple(records), assigned, looked, near, tuple(errors), tuple(warnings), balance)


def look(record: Record) -> Looked:
    """Read a record's files and say what is wrong with them."""
    try:
        frame = load_frame(record)
    except ImageError as error:
        return Looked(problems=(error.problem,))
    size, footer = frame.shape[::-1], has_footer(record.frame)
    problems = [f"{record.frame} is uniform: it shows nothing"] if float(frame.std()) < UNIFORM else []
    try:
        mask = load_mask(record)
    except ImageError as error:
        return Looked(size, None, footer, perceptual_hash(frame), (*problems, error.problem))
    remarks = []
    if mask is not None:
        problems += _mask_problems(record, frame, mask)
        remarks = [] if mask.any() else [f"{record.mask} is empty: no nerve in the frame"]
    mask_size = None if mask is None else mask.shape[::-1]
    return Looked(size, mask_size, footer, perceptual_hash(frame), tuple(problems), tuple(remarks))


def _mask_problems(record: Record, frame: np.ndarray, mask: np.ndarray) -> list[str]:
    if mask.shape != frame.shape:
        (height, width), (rows, columns) = frame.shape, mask.shape
        return [f"{record.mask} is {columns} x {rows} pixels, but its frame {width} x {height}"]
    share = float((mask > 0.5).mean())
    return [f"{record.mask} is {share:.0%} nerve: is it inverted?"] if share > INVERTED else []


def _assign(records: Sequence[Record], splits: Splits | None) -> tuple[str, ...]:
    if splits is None:
        return tuple(record.split or UNASSIGNED for record in records)
    sets = {record.frame: name for name, members in splits.named().items() for record in members}
    return tuple(sets[record.frame] for record in records)


def _missing(records: Sequence[Record]) -> list[str]:
    """Name frames without a mask, and those without a cohort where others have one."""
    bare = [record.frame for record in records if record.mask is None]
    vague = [record.frame for record in records if record.cohort is None]
    problems = [f"{len(bare)} frames have no mask: {_name(bare)}"] if bare else []
    if 0 < len(vague) < len(records):
        problems.append(f"No cohort for {_name(vague)}, while other frames have one")
    return problems


def _leaks(records: Sequence[Record], assigned: Sequence[str]) -> list[str]:
    sets = {name: [r for r, own in zip(records, assigned, strict=True) if own == name] for name in SPLITS}
    return [f"Patient {p} is in {' and '.join(names)}" for p, names in shared_patients(sets).items()]


def _duplicates_across(records: Sequence[Record], assigned: Sequence[str], near: Sequence[Near]) -> list[str]:
    return [
        f"{records[a].frame} ({assigned[a]}) and {records[b].frame} ({assigned[b]}) are nearly the same "
        f"({bits} of 255 bits differ)"
        for a, b, bits in near
        if assigned[a] != assigned[b]
    ]


def _warnings(
    records: Sequence[Record], assigned: Sequence[str], looked: Sequence[Looked], near: Sequence[Near]
) -> list[str]:
    told = []
    same = [pair for pair in near if assigned[pair.first] == assigned[pair.second]]
    strange = [pair for pair in same if records[pair.first].patient != records[pair.second].patient]
    for title, pairs in (("within a set", same), ("of different patients", strange)):
        if pairs:
            a, b, _ = pairs[0]
            told.append(
                f"{len(pairs)} near-duplicates {title}, such as {records[a].frame.name} and "
                f"{records[b].frame.name}"
            )
    sizes = {found.size for found in looked if found.size}
    if len(sizes) > 1:
        told.append(f"Frames of {len(sizes)} sizes: set data.crop_px, or make them alike")
    if len({round(record.um_per_px, 4) for record in records}) > 1:
        told.append("Frames of several pixel sizes: nerves of one width in um will differ in pixels")
    cohorts = defaultdict(set)
    for record in records:
        if record.cohort is not None:
            cohorts[record.patient].add(record.cohort)
    moved = sorted(str(p) for p, found in cohorts.items() if p is not None and len(found) > 1)
    if moved:
        told.append(f"In several cohorts: patient {', '.join(moved[:NAMED])}")
    return told


def _balance(records: Sequence[Record], assigned: Sequence[str]) -> dict[str, Counter[str]]:
    balance: dict[str, Counter[str]] = defaultdict(Counter)
    for record, name in zip(records, assigned, strict=True):
        balance[DatasetReport.cohort_name(record)][name] += 1
    return dict(sorted(balance.items()))


def _thin(balance: dict[str, Counter[str]]) -> list[str]:
    """Name sets without a cohort that others have, and cohorts a third or less of the largest."""
    balance = {cohort: counts for cohort, counts in balance.items() if cohort != NO_COHORT}
    used = [name for name in SPLITS if any(counts[name] for counts in balance.values())]
    told = [
        f"No {cohort} in {n}: take more patients, or other data.fractions"
        for cohort, counts in balance.items()
        for n in used
        if not counts[n]
    ]
    most = max((counts.total() for counts in balance.values()), default=0)
    small = [cohort for cohort, counts in balance.items() if 3 * counts.total() <= most]
    return told + [f"{cohort} has a third or less of the frames of the largest cohort" for cohort in small]


def _name(files: Sequence[Path]) -> str:
    rest = len(files) - NAMED
    return ", ".join(map(str, files[:NAMED])) + (f" and {rest} more" if rest > 0 else "")
