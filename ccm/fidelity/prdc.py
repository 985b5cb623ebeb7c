"""Precision, recall, density, coverage: does the generated set stay inside the real one and fill it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from .features import ExtractorId, FeatureSet, check_comparable


@dataclass(frozen=True)
class PRDCResult:
    """Shares in 0..1 (density may exceed 1); `k` is the neighbour that sets the radius of a ball.

    At 300 frames coverage is the stable one; precision and recall hang on single outlying frames.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int
    n_real: int
    n_generated: int
    dimension: int
    extractor: ExtractorId


def prdc(real: FeatureSet, generated: FeatureSet, k: int = 5) -> PRDCResult:
    """Compare two sets by balls around frames, each reaching to the k-th nearest other frame of its own set.

    precision: generated frames inside a ball of a real frame; recall: real frames inside a ball of a
    generated frame (Kynkaanniemi et al. 2019, eq. 1-2). density: real balls that hold a generated frame, per
    k; coverage: real balls that hold at least one (Naeem et al. 2020, eq. 4-5). Balls are closed. Raises
    ImageError unless both sets hold more than k frames.
    """
    check_comparable(real, generated)
    if min(len(real), len(generated)) <= k:
        raise ImageError(
            f"The sets hold {len(real)} and {len(generated)} frames; neighbour {k} takes more than {k}",
            fix=f"pass at least {k + 1} frames per set",
        )
    from scipy.spatial.distance import cdist

    between = cdist(real.values, generated.values)  # [N,M]
    in_real_ball = between <= _radii(cdist(real.values, real.values), k)[:, None]
    in_generated_ball = between <= _radii(cdist(generated.values, generated.values), k)[None, :]
    return PRDCResult(
        precision=float(in_real_ball.any(axis=0).mean()),
        recall=float(in_generated_ball.any(axis=1).mean()),
        density=float(in_real_ball.sum() / (k * len(generated))),
        coverage=float(in_real_ball.any(axis=1).mean()),
        k=k,
        n_real=len(real),
        n_generated=len(generated),
        dimension=real.values.shape[1],
        extractor=real.extractor,
    )


def _radii(distances: np.ndarray, k: int) -> np.ndarray:
    """Distance [N] from each frame to its k-th nearest other frame; number 0 is the frame itself."""
    return np.partition(distances, k, axis=1)[:, k]
