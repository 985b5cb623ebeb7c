"""Memorisation: is a generated frame a copy of a training frame?

Nearest-neighbour distance ratio (NNDR): distance to the nearest training frame over distance to the second
nearest. A copy lies far closer to one frame than to any other. Distance to the closest record (DCR): the
first of the two. Both are judged against held-out real frames, which by construction are no copies.

A turned or mirrored copy is a copy: where the network does not see turned frames alike, the training frames are taken
in all eight orientations of the square, and the nearest of them counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from .features import ExtractorId, FeatureExtractor, FeatureSet, check_comparable, extract

ORIENTATIONS = 8


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


def extract_turned(
    extractor: FeatureExtractor,
    grey: np.ndarray,
    subjects: Sequence[str] | None = None,
    on_batch: Callable[[int], None] = lambda frames: None,
) -> list[FeatureSet]:
    """Features of frames [N,H,W] in every orientation that the network tells apart; the first is as they are."""
    turned = [
        np.rot90(mirrored, quarter, axes=(1, 2))
        for mirrored in (grey, grey[:, :, ::-1])
        for quarter in range(4)
    ]
    return [
        extract(extractor, np.ascontiguousarray(frames), subjects, on_batch)
        for frames in turned[: orientations(extractor)]
    ]


def orientations(extractor: FeatureExtractor) -> int:
    """How many orientations of a square frame the network tells apart: 1 or 8."""
    return 1 if extractor.turns_alike else ORIENTATIONS


def memorisation(
    generated: FeatureSet,
    turned: Sequence[FeatureSet],
    heldout: FeatureSet,
    quantile: float = 0.01,
) -> MemorisationResult:
    """Flag generated frames that lie closer to one training frame than real frames of held-out patients do.

    `turned` are the training frames, all of them in each orientation (see `extract_turned`). Held-out
    frames must share no patient with them, or every threshold is too low. Raises ImageError where a patient
    is in both, and on sets of fewer than two frames.
    """
    training = turned[0]
    check_comparable(training, heldout)
    check_comparable(training, generated)
    shared = set(training.subjects or ()) & set(heldout.subjects or ())
    if shared:
        raise ImageError(
            f"{len(shared)} subjects are in the training and in the held-out set, {min(shared)} among them",
            fix="hold out whole patients",
        )
    values = [one.values for one in turned]
    nearest, dcr, nndr = neighbours(generated.values, values)
    _, heldout_dcr, heldout_nndr = neighbours(heldout.values, values)
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


def neighbours(frames: np.ndarray, turned: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest training frame, its distance (DCR) and the NNDR of each frame; [N,d], K x [M,d] -> three [N].

    The nearest orientation of a training frame counts, M >= 2. Two equally near training frames give 1, also
    where both are at distance 0 (a training set with duplicates).
    """
    from scipy.spatial.distance import cdist

    distances = np.minimum.reduce([cdist(frames, training) for training in turned])
    order = np.argpartition(distances, 1, axis=1)[:, :2]
    first, second = np.take_along_axis(distances, order, axis=1).T
    nndr = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    return order[:, 0], first, nndr
