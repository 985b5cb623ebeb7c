"""Measured sets for the equivalence tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest

Measured = Callable[..., str]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def measured() -> Measured:
    """The JSON of Nerve Biomarkers for frames of these CNFL values; CNFD is twice, CNBD three times as much."""

    def make(cnfl: Sequence[float | None], version: str = "1") -> str:
        frames = [
            {
                "cnfl_mm_per_mm2": x,
                "cnfd_per_mm2": None if x is None else 2.0 * x,
                "cnbd_per_mm2": None if x is None else 3.0 * x,
            }
            for x in cnfl
        ]
        return json.dumps({"tool": "t", "version": version, "um_per_px": 1.0, "frames": frames})

    return make
