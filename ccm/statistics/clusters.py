"""Frames of one patient are no independent draws: everything here works on one number per patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError


def as_sample(name: str, values: Sequence[float] | np.ndarray, least: int) -> np.ndarray:
    """The values as float64 [n]; raises DataError on fewer than `least` of them and on NaN or infinity."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < least:
        raise DataError(
            f"{name} holds values of shape {sample.shape}; expected at least {least} in a row",
            fix="pass one number per patient, of more patients",
        )
    if not np.isfinite(sample).all():
        raise DataError(f"{name} holds NaN or infinite values", fix="leave out what could not be measured")
    return sample


def cluster_means(values: Sequence[float] | np.ndarray, clusters: Sequence[str]) -> dict[str, float]:
    """Mean of the values [N] of each cluster (patient), in the order in which clusters first occur.

    Raises DataError where there is not one cluster for each value.
    """
    if len(values) != len(clusters):
        raise DataError(
            f"{len(clusters)} clusters are named for {len(values)} values", fix="name one cluster per value"
        )
    groups: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        groups.setdefault(cluster, []).append(float(value))
    return {cluster: float(np.mean(group)) for cluster, group in groups.items()}
