"""Memorisation: is a generated frame a copy of a training frame?

Nearest-neighbour distance ratio (NNDR): distance to the nearest training frame over distance to the second
nearest. A copy lies far closer to one frame than to any other. Distance to the closest record (DCR): the
first of the two. Both are judged against held-out real frames, which by construction are no copies.

A turned or mirrored copy is a copy: where the network does not see turned frames alike, the training frames are taken
in all eight orientations of the square, and the nearest of them counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from .features import ExtractorId, FeatureExtractor, FeatureSet, Frames, check_comparable, extract
from .two_sample import frames_by_subject

ORIENTATIONS = 8


@dataclass(frozen=True, eq=False)
class MemorisationResult:
    """One entry per generated frame, and the held-out thresholds they were judged by.

    `copies` are the frames whose NNDR lies below the threshold, which is held-out frame number `rank` in order. A
    frame that is no copy lies there with probability rank / (n + 1); `rank` is the largest with which that is at most
    `quantile`, and 1, the least frame of all, where none is: below 99 held-out frames for 1 %. `dcr_share` is the
    share of generated frames closer to the training set than the held-out DCR threshold.
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

    @property
    def rank(self) -> int:
        """Which of the sorted held-out scores is the threshold, from 1."""
        return threshold_rank(self.n_heldout, self.quantile)

    @property
    def by_chance(self) -> float:
        """How many frames would be flagged if none were a copy: rank / (n + 1) of them, as ranks are uniform."""
        return len(self.nndr) * self.rank / (self.n_heldout + 1)

    @property
    def p_value(self) -> float:
        """The chance that as many frames are flagged though none is a copy (beta-binomial, frames independent)."""
        from scipy.stats import betabinom

        beyond = len(self.copies) - 1
        return float(betabinom.sf(beyond, len(self.nndr), self.rank, self.n_heldout + 1 - self.rank))


def extract_turned(
    extractor: FeatureExtractor,
    grey: Frames,
    subjects: Sequence[str] | None = None,
    on_batch: Callable[[int], None] = lambda frames: None,
) -> list[FeatureSet]:
    """Features of frames [N,H,W] in every orientation that the network tells apart; the first is as they are."""
    return [
        extract(_Turned(extractor, orientation), grey, subjects, on_batch)
        for orientation in range(orientations(extractor))
    ]


def orientations(extractor: FeatureExtractor) -> int:
    """How many orientations of a square frame the network tells apart: 1 or 8."""
    return 1 if extractor.turns_alike else ORIENTATIONS


class _Turned:
    """An extractor that sees frames turned by quarters, from number 4 on mirrored too."""

    def __init__(self, extractor: FeatureExtractor, orientation: int) -> None:
        self.name, self.hash, self.resize = extractor.name, extractor.hash, extractor.resize
        self.turns_alike = extractor.turns_alike
        self._extractor, self._orientation = extractor, orientation

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        mirrored, quarter = divmod(self._orientation, 4)
        turned = np.rot90(grey[:, :, ::-1] if mirrored else grey, quarter, axes=(1, 2))
        return self._extractor(np.ascontiguousarray(turned))


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
    of_heldout = neighbours(heldout.values, values)
    return _judge(generated, turned, of_heldout, len(heldout), quantile)


def memorisation_among(
    generated: FeatureSet, turned: Sequence[FeatureSet], quantile: float = 0.01
) -> MemorisationResult:
    """Do the same without held-out frames: each training frame is judged by the frames of other patients.

    What a training frame scores with its own patient left out is what a frame of a new patient scores, so every
    training frame serves as a held-out one. Where patients are unknown only the frame itself is left out: other
    frames of its patient then lower the threshold, and copies may be missed. Raises ImageError unless at least
    two frames are left whichever patient is out.
    """
    training = turned[0]
    check_comparable(training, generated)
    subjects = frames_by_subject(training.subjects, len(training))
    if len(training) - max(map(len, subjects)) < 2:
        raise ImageError(
            "Without the frames of one patient fewer than two training frames are left",
            fix="pass frames of at least 3 patients",
        )
    own = np.zeros((len(training), len(training)), dtype=bool)
    for frames in subjects:
        own[np.ix_(frames, frames)] = True
    of_others = neighbours(training.values, [one.values for one in turned], left_out=own)
    return _judge(generated, turned, of_others, len(training), quantile)


def _judge(
    generated: FeatureSet,
    turned: Sequence[FeatureSet],
    of_heldout: tuple[np.ndarray, np.ndarray, np.ndarray],
    n_heldout: int,
    quantile: float,
) -> MemorisationResult:
    """Compare the generated frames' neighbours with those that held-out frames have."""
    nearest, dcr, nndr = neighbours(generated.values, [one.values for one in turned])
    _, heldout_dcr, heldout_nndr = of_heldout
    rank = threshold_rank(n_heldout, quantile)
    nndr_threshold, dcr_threshold = (float(np.sort(x)[rank - 1]) for x in (heldout_nndr, heldout_dcr))
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
        n_training=len(turned[0]),
        n_heldout=n_heldout,
        extractor=turned[0].extractor,
    )


def threshold_rank(heldout: int, quantile: float) -> int:
    """Which of the held-out frames, the least being 1, sets the threshold."""
    return max(1, math.floor(quantile * (heldout + 1) + 1e-9))


def neighbours(
    frames: np.ndarray, turned: Sequence[np.ndarray], left_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest training frame, its distance (DCR) and the NNDR of each frame; [N,d], K x [M,d] -> three [N].

    The nearest orientation of a training frame counts, M >= 2. Two equally near training frames give 1, also
    where both are at distance 0 (a training set with duplicates). `left_out` [N,M] marks pairs that do not count.
    """
    from scipy.spatial.distance import cdist

    distances = np.minimum.reduce([cdist(frames, training) for training in turned])
    if left_out is not None:
        distances[left_out] = np.inf
    order = np.argpartition(distances, 1, axis=1)[:, :2]
    first, second = np.take_along_axis(distances, order, axis=1).T
    nndr = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    return order[:, 0], first, nndr
