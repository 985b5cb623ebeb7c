"""Endpoints of a study: what the verdicts of several trainings on the test frames come to.

An endpoint is a function of weights, how often each test frame and each seed counts, so that the bootstrap can draw
patients and seeds anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .trial import Verdicts

Endpoint = Callable[[np.ndarray, np.ndarray], float]  # weights of frames [N] and of seeds [S] -> value

TITLES = {
    "centre_line_f1": "centre-line F1",
    "miou": "mean IoU",
    "accuracy": "accuracy",
    "auc": "AUC",
}


def endpoints(verdicts: Sequence[Verdicts], cohorts: np.ndarray) -> Mapping[str, Endpoint]:
    """Return the endpoints by name, of the trainings of one arm; `cohorts` [N] are the true ones."""
    found: dict[str, Endpoint] = {}
    if len(verdicts[0].f1):
        found["centre_line_f1"] = _mean(np.stack([v.f1 for v in verdicts]))
        found["miou"] = _mean(np.stack([v.iou for v in verdicts]))
    if len(verdicts[0].cohorts):
        found["accuracy"] = _mean(np.stack([v.cohorts.argmax(axis=1) == cohorts for v in verdicts]))
        found["auc"] = _auc(np.stack([v.cohorts for v in verdicts]), cohorts)
    return found


def _mean(values: np.ndarray) -> Endpoint:
    """Mean over seeds and frames of values [S,N]."""
    return lambda frames, seeds: float(seeds @ values @ frames / (seeds.sum() * frames.sum()))


def _auc(probabilities: np.ndarray, cohorts: np.ndarray) -> Endpoint:
    """Area under the curve of each cohort against the others, ties half, averaged over cohorts; of [S,N,C]."""
    present = [c for c in range(probabilities.shape[-1]) if (cohorts == c).any() and (cohorts != c).any()]
    inside = [cohorts == c for c in present]
    above = [
        _shares_above(probabilities[:, own][..., c], probabilities[:, ~own][..., c])
        for c, own in zip(present, inside, strict=True)
    ]

    def area(frames: np.ndarray, seeds: np.ndarray) -> float:
        areas = []
        for own, wins in zip(inside, above, strict=True):
            positive, negative = frames[own], frames[~own]
            each = np.einsum("spn,p,n->s", wins, positive, negative, optimize=True)
            areas.append(seeds @ each / (seeds.sum() * positive.sum() * negative.sum()))
        return float(np.mean(areas))

    return area


def _shares_above(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """1 where a score [S,P] lies above another [S,Q], 1/2 where they are equal, [S,P,Q]."""
    one, other = positive[:, :, None], negative[:, None, :]
    return (one > other) + 0.5 * (one == other)
