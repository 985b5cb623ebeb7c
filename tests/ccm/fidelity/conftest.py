"""Feature sets for the fidelity tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from ccm_pack.ccm.fidelity.features import ExtractorId, FeatureSet

MakeSet = Callable[..., FeatureSet]


@pytest.fixture
def feature_set() -> MakeSet:
    """Wrap values [N,d], with a subject per row or without, as features of one made-up extractor."""

    def make(values: object, subjects: Sequence[object] | None = None, extractor: str = "test") -> FeatureSet:
        names = None if subjects is None else tuple(map(str, subjects))
        return FeatureSet(
            np.asarray(values, dtype=np.float64), ExtractorId(extractor, "0" * 64, "none"), names
        )

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)
