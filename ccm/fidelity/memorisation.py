"""Memorisation: is a generated frame a copy of a training frame?

Nearest-neighbour distance ratio (NNDR): distance to the nearest training frame over distance to the second
nearest. A copy lies far closer to one frame than to any other. Distance to the closest record (DCR): the
first of the two. Both are judged against held-out real frames, which by construction are no copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from .features import ExtractorId, FeatureSet, check_comparable


@dataclass(frozen=True, eq=False)
class MemorisationResult:
    """One entry per generated frame, and the held-out thresholds they were judged by.

    `copies` are the frames whose NNDR lies below the threshold. By chance `quantile` of the frames would: it
    is the false-flag rate to expect, and with fewer than 1 / `quantile` held-out frames the threshold is
    their minimum. `dcr_share` is the share of generated frames closer to the training set than the held-out
    DCR threshold.
    """

    nndr: np.ndarray
    dcr: np.ndarray
    nearest: np.ndarray  # index of the nearest training frame
    copies: np.ndarray  # indices of generated frames, most suspicious first
    nndr_threshold: float
    dcr_threshold: float
    dcr_share: float
    quantile: float
    n_training: int
    n_heldout: int
    extractor: ExtractorId


def memorisation(
    generated: FeatureSet, training: FeatureSet, heldout: FeatureSet, quantile: float = 0.01
) -> MemorisationResult:
    """Flag generated frames that lie closer to one training frame than real frames of held-out patients do.

    Held-out frames must share no patient with the training frames, or every threshold is too low. Raises
    ImageError where a patient is in both, and on sets of fewer than two frames.
    """
    check_comparable(training, heldout)
    check_comparable(training, generated)
    shared = set(training.subjects or ()) & set(heldout.subjects or ())
    if shared:
        raise ImageError(
            f"{len(shared)} subjects are in the training and in the held-out set, {min(shared)} among them",
            fix="hold out whole patients",
        )
    nearest, dcr, nndr = neighbours(generated.values, training.values)
    _, heldout_dcr, heldout_nndr = neighbours(heldout.values, training.values)
    nndr_threshold = float(np.quantile(heldout_nndr, quantile, method="higher"))
    dcr_threshold = float(np.quantile(heldout_dcr, quantile, method="higher"))
    flagged = np.flatnonzero(nndr < nndr_threshold)
    return MemorisationResult(
        nndr=nndr,
        dcr=dcr,
        nearest=nearest,
        copies=flagged[np.argsort(nndr[flagged])],
        nndr_threshold=nndr_threshold,
        dcr_threshold=dcr_threshold,
        dcr_share=float((dcr < dcr_threshold).mean()),
        quantile=quantile,
        n_training=len(training),
        n_heldout=len(heldout),
        extractor=training.extractor,
    )


def neighbours(frames: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest training frame, its distance (DCR) and the NNDR of each frame; [N,d], [M,d], M >= 2 -> three
    [N].

    Two equally near training frames give 1, also where both are at distance 0 (a training set with
    duplicates).
    """
    from scipy.spatial.distance import cdist

    distances = cdist(frames, training)
    order = np.argpartition(distances, 1, axis=1)[:, :2]
    first, second = np.take_along_axis(distances, order, axis=1).T
    nndr = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    return order[:, 0], first, nndr
