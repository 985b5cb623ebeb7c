"""Sets of small frames for the report tests, and an extractor whose features can be told by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.report.evaluation import Provenance, Settings, evaluate
from ccm_pack.ccm.report.sets import EvaluationSet, Label, Measurements

MakeSet = Callable[..., EvaluationSet]
SIDE = 24


class Patches:
    """The means of the nine thirds-by-thirds of a frame."""

    name, hash, resize, turns_alike = "patches", "0" * 64, "none", False

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        third = SIDE // 3
        return grey.reshape(len(grey), 3, third, 3, third).mean(axis=(2, 4)).reshape(len(grey), 9)


def frames(n: int, seed: int, level: float = 0.5) -> np.ndarray:
    """Noise about blocks of random grey, [n,SIDE,SIDE]."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.uniform(-0.2, 0.2, (n, 3, 3)), np.ones((SIDE // 3, SIDE // 3)))
    return np.clip(level + blocks + 0.01 * rng.standard_normal((n, SIDE, SIDE)), 0, 1).astype(np.float32)


@pytest.fixture
def make_set() -> MakeSet:
    """A set of these frames; `values` are their CNFL, `patients` one name a frame, `cohorts` one or one a frame."""

    def make(
        name: str,
        grey: np.ndarray,
        patients: Sequence[str] | None = None,
        cohorts: Cohort | Sequence[Cohort | None] | None = Cohort.CONTROL,
        values: Sequence[float] | None = None,
    ) -> EvaluationSet:
        n = len(grey)
        kinds = [cohorts] * n if cohorts is None or isinstance(cohorts, Cohort) else list(cohorts)
        people = [None] * n if patients is None else list(patients)
        labels = tuple(
            Label(f"{i}.png", kind, who) for i, (kind, who) in enumerate(zip(kinds, people, strict=True))
        )
        cnfl = values if values is not None else np.linspace(14.0, 16.0, n)
        measured = Measurements(tuple({"cnfl_mm_per_mm2": float(x)} for x in cnfl), "tool 1", 0)
        return EvaluationSet(name, f"folder of {name}", grey, labels, measured)

    return make


@pytest.fixture
def compare():
    """Evaluate two sets with the extractor of this file."""

    def run(real: EvaluationSet, generated: EvaluationSet, settings: Settings | None = None, **more):
        made_by = Provenance("python . evaluate A B --out C", {"python": "3"})
        return evaluate(real, generated, Patches(), settings or Settings(), made_by, **more)

    return run
