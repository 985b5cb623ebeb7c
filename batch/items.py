"""A plan as items: one for each frame, with a name, a seed and values that depend on the plan and its name alone.

So the same item gives the same frame whenever and wherever it is made, and a plan that grows keeps its items.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ccm.dataset.folder import EYES, Place
from ..ccm.frames.record import SPLITS
from .masks import MaskSource, Spec
from .plan import Plan, Value

GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, fill 0..1 evenly however many there are


@dataclass(frozen=True)
class Item:
    """One frame to make: where it belongs, its mask, the values of its slots, and a hash of all that fixes it."""

    place: Place
    split: str
    mask: Spec
    values: dict[str, Value]
    seed: int
    request: str

    @property
    def id(self) -> str:
        return self.place.name

    def seed_of(self, draw: int) -> int:
        """The seed of the first draw (0) or of one after so many rejections."""
        return number(self.seed, self.id, "draw", draw)


def expand(plan: Plan, source: MaskSource, graph_sha256: str) -> Iterator[Item]:
    """Yield the items of a plan one after the other, cohorts taking turns."""
    longest = max(cohort.count for cohort in plan.cohorts.values())
    for index in range(longest):
        for cohort, wanted in plan.cohorts.items():
            if index < wanted.count:
                yield _item(plan, source, graph_sha256, cohort, index)


def number(*parts: Any) -> int:
    """Return 64 random-looking bits that depend on the parts alone."""
    text = json.dumps(parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _item(plan: Plan, source: MaskSource, graph_sha256: str, cohort: str, index: int) -> Item:
    frames = plan.dataset.frames_per_patient
    patient, frame = divmod(index, frames)
    place = Place(cohort, f"SYN{cohort}{patient + 1:05}", EYES[2 * frame // frames], frame + 1)
    seed = plan.dataset.seed
    mask = source.describe(cohort, index, number(seed, place.name, "mask"))
    values = _values(plan, cohort, place.name)
    fixed = [graph_sha256, seed, place.name, mask, values]
    request = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()
    return Item(place, _split(plan.dataset.fractions, patient), mask, values, seed, request)


def _values(plan: Plan, cohort: str, name: str) -> dict[str, Value]:
    """The values of the slots, those of ranges drawn for this item."""
    values: dict[str, Value] = {"cohort": cohort, "size": plan.dataset.size_px}
    for slot, setting in plan.settings.items():
        if not isinstance(setting, tuple):
            values[slot] = setting
            continue
        low, high = setting
        rng = np.random.default_rng(number(plan.dataset.seed, name, "setting", slot))
        if isinstance(low, int) and isinstance(high, int):
            values[slot] = int(rng.integers(low, high + 1))
        else:
            values[slot] = round(float(rng.uniform(low, high)), 6)
    return values


def _split(fractions: tuple[float, ...], patient: int) -> str:
    """The set of a patient: shares as asked for, in every cohort, whatever the number of patients."""
    at = ((patient + 0.5) * GOLDEN) % 1.0
    return SPLITS[0] if at < fractions[0] else SPLITS[1] if at < fractions[0] + fractions[1] else SPLITS[2]
