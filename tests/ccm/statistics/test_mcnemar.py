"""McNemar's exact test by hand and against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.mcnemar import mcnemar


def verdicts(only_a: int, only_b: int, both: int) -> tuple[np.ndarray, np.ndarray]:
    a = [True] * only_a + [False] * only_b + [True] * both
    b = [False] * only_a + [True] * only_b + [True] * both
    return np.array(a), np.array(b)


def test_five_against_none_by_hand() -> None:
    found = mcnemar(*verdicts(5, 0, 20))
    assert found.p_value == pytest.approx(2.0 * 0.5**5)
    assert (found.only_a, found.only_b, found.n) == (5, 0, 25)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (3, 3), (10, 4), (40, 61)])
def test_equals_statsmodels(only_a: int, only_b: int) -> None:
    oracle = pytest.importorskip(
        "statsmodels.stats.contingency_tables", reason="statsmodels is not installed"
    )
    truth = oracle.mcnemar([[7, only_a], [only_b, 2]], exact=True).pvalue
    assert mcnemar(*verdicts(only_a, only_b, 9)).p_value == pytest.approx(truth, abs=1e-9)


def test_no_disagreement_has_p_one() -> None:
    assert mcnemar(*verdicts(0, 0, 4)).p_value == 1.0


def test_unequal_counts_are_refused() -> None:
    with pytest.raises(DataError, match="verdicts"):
        mcnemar([True], [True, False])
