"""Two classifiers on the same frames: does one get more right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError


@dataclass(frozen=True)
class McNemarResult:
    """Frames that only one of the two classifiers got right, and the exact two-sided p that chance splits them so."""

    only_a: int
    only_b: int
    p_value: float
    n: int


def mcnemar(right_a: Sequence[bool] | np.ndarray, right_b: Sequence[bool] | np.ndarray) -> McNemarResult:
    """Exact McNemar test (1947) of which of n *independent* frames each classifier got right: [n], [n].

    Frames of one patient are not independent: use one frame or one verdict per patient, or a cluster bootstrap.
    Raises DataError for counts that differ and for none.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise DataError(
            f"The verdicts have shapes {a.shape} and {b.shape}",
            fix="pass one verdict per frame and classifier",
        )
    only_a, only_b = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    discordant = only_a + only_b
    p = float(binomtest(only_a, discordant).pvalue) if discordant else 1.0
    return McNemarResult(only_a, only_b, p, len(a))
