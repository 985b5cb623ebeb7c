"""`python . bench fidelity`: the Frechet distance beside scipy's matrix square root, torchmetrics and
torch-fidelity.

Every method starts from the same two float64 feature sets and ends with the distance. They take turns, up to 25 or
as many as fit into ten seconds, and the median counts. Peers that are not installed are left out. The last line is one
JSON object: `<method>_ms_<N>` (wall time), `<method>_cpu_ms_<N>` (processor time, which a busy machine changes less),
and `<method>_error_<N>`, the relative difference from the singular values of the plain centred samples, with no
reduction.
"""

from __future__ import annotations

import json
import math
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

import numpy as np

from ..ccm.fidelity.frechet import frechet_terms

DIMENSION = 2048
SIZES = (318, 5000)
TURNS = 25
MOST_MS = 10_000.0  # of all turns of a method, but for the first

Distance = Callable[[np.ndarray, np.ndarray], float]


class Timing(NamedTuple):
    """Median wall and processor time in ms, and relative error."""

    ms: float
    cpu_ms: float
    error: float


def main(argv: list[str]) -> int:
    """Print a table and one JSON line; returns 0."""
    parser = ArgumentParser(prog="python . bench fidelity", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="frames a side")
    sizes = parser.parse_args(argv).sizes
    print(f"Frechet distance, d = {DIMENSION}")
    print(f"{'N':>6}  {'method':<15}{'ms':>10}{'x ours':>9}{'cpu ms':>10}{'rel. error':>12}", flush=True)
    found: dict[str, float] = {}
    for n in sizes:
        a, b = features(n, seed=0), features(n, seed=1)
        timings = in_turns(methods(), a, b, by_svd(a, b))
        for name, timing in timings.items():
            found |= {f"{name}_{field}_{n}": value for field, value in timing._asdict().items()}
            times = f"{timing.ms:>10.1f}{timing.ms / timings['ours'].ms:>9.1f}{timing.cpu_ms:>10.1f}"
            print(f"{n:>6}  {name:<15}{times}{timing.error:>12.1e}", flush=True)
    print(json.dumps(found))
    return 0


def features(n: int, seed: int) -> np.ndarray:
    """Features [n,2048] like pooled Inception: not negative, with a spectrum that falls by 1000."""
    mixing = np.random.default_rng(42).standard_normal((DIMENSION, DIMENSION)) / math.sqrt(DIMENSION)
    latent = np.random.default_rng([seed, n]).standard_normal((n, DIMENSION))
    return np.maximum(latent * np.geomspace(1.0, 1e-3, DIMENSION) @ mixing + 0.1 + 0.01 * seed, 0.0)


def by_svd(a: np.ndarray, b: np.ndarray) -> float:
    """The distance from centred samples reduced by QR alone: slow, and exact to rounding."""
    offset = a.mean(axis=0) - b.mean(axis=0)
    one, other = (_triangle((x - x.mean(axis=0)) / math.sqrt(len(x) - 1)) for x in (a, b))
    overlap = np.linalg.svd(one @ other.T, compute_uv=False).sum()
    return float(offset @ offset + np.vdot(one, one) + np.vdot(other, other) - 2.0 * overlap)


def _triangle(root: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.qr(root, mode="r"))


def in_turns(methods: dict[str, Distance], a: np.ndarray, b: np.ndarray, truth: float) -> dict[str, Timing]:
    """Time every method, one after the other and that several times over, so that a slow moment hits all alike."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    values: dict[str, float] = {}
    for turn in range(TURNS):
        for name, distance in methods.items():
            if turn == 0 or (turn + 1) * times[name][0][0] <= MOST_MS:
                began, began_cpu = time.perf_counter(), time.process_time()
                values[name] = distance(a, b)
                times[name].append(
                    (1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - began_cpu))
                )
    timings = {}
    for name, found in times.items():
        wall, cpu = np.median(found, axis=0).tolist()
        timings[name] = Timing(wall, cpu, abs(values[name] - truth) / truth)
    return timings


def methods() -> dict[str, Distance]:
    """Ours first, then every peer that can be imported."""
    found: dict[str, Distance] = {"ours": lambda a, b: sum(frechet_terms(a, b))}
    for name, make in (
        ("scipy", _scipy),
        ("torchmetrics", _torchmetrics),
        ("torch_fidelity", _torch_fidelity),
    ):
        try:
            found[name] = make()
        except ImportError:
            print(f"{name} is not installed and left out", file=sys.stderr)
    return found


def _scipy() -> Distance:
    from scipy.linalg import sqrtm

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        offset, s_a, s_b = a.mean(axis=0) - b.mean(axis=0), np.cov(a.T), np.cov(b.T)
        return float(offset @ offset + np.trace(s_a + s_b - 2.0 * np.real(sqrtm(s_a @ s_b))))

    return distance


def _torchmetrics() -> Distance:
    import torch

    fid = import_module("torchmetrics.image.fid")

    class AsTheyAre(torch.nn.Module):
        num_features = DIMENSION

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        metric = fid.FrechetInceptionDistance(feature=AsTheyAre()).set_dtype(torch.float64)
        metric.update(torch.from_numpy(a), real=True)
        metric.update(torch.from_numpy(b), real=False)
        return float(metric.compute())

    return distance


def _torch_fidelity() -> Distance:
    import torch

    fid = import_module("torch_fidelity.metric_fid")

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        one, other = (fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b))
        return float(fid.fid_statistics_to_metric(one, other, verbose=False)["frechet_inception_distance"])

    return distance
