"""What sample number k of a run is: a pure function of the run's seed and k, so there is no state to save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...ccm.cohorts import Cohort
from ...ccm.errors import TrainingError
from ..config import DataConfig

ORIENTATIONS = 8  # of the square: 4 turns, each also mirrored
_SAMPLE, _COHORTS, _EPOCH = 1, 2, 3  # keep the streams of random numbers apart


@dataclass(frozen=True)
class Sample:
    """One draw. crop is the corner (x, y) of the crop as shares of the free room, each in 0..1."""

    record: int  # index into the training records
    orientation: int  # 0..7, see `orient`
    crop: tuple[float, float]
    drop_caption: bool
    drop_control: bool
    noise_seed: int


class Sampler:
    """Draws samples from records of the given cohorts (None where unknown, a group of its own).

    Balanced: of every C samples in a row that start at a multiple of C, each of the C groups gives one. Within a
    group every record comes once before any comes again, in an order shuffled anew each time.
    """

    def __init__(self, cohorts: Sequence[Cohort | None], config: DataConfig, seed: int) -> None:
        if not cohorts:
            raise TrainingError("There are no training frames", fix="raise the first of data.fractions")
        self._config = config
        self._seed = seed
        everything = np.arange(len(cohorts))
        present = [c for c in (*Cohort, None) if c in cohorts] if config.balanced else []
        self._groups = [everything[[c is cohort for c in cohorts]] for cohort in present] or [everything]

    def sample(self, k: int) -> Sample:
        """Return sample number k, from 0 on; whatever is switched off changes nothing else of a sample."""
        rng = np.random.default_rng([_SAMPLE, self._seed, k])
        orientation, (x, y) = int(rng.integers(ORIENTATIONS)), rng.random(2)
        caption, control = rng.random(2)
        return Sample(
            record=self._record(k),
            orientation=orientation if self._config.flips else 0,
            crop=(float(x), float(y)),
            drop_caption=bool(caption < self._config.caption_drop),
            drop_control=bool(control < self._config.control_drop),
            noise_seed=int(rng.integers(2**63 - 1)),
        )

    def _record(self, k: int) -> int:
        round_, place = divmod(k, len(self._groups))
        group = int(_shuffled(len(self._groups), _COHORTS, self._seed, 0, round_)[place])
        members = self._groups[group]
        epoch, place = divmod(round_, len(members))
        return int(members[_shuffled(len(members), _EPOCH, self._seed, group, epoch)[place]])


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array [...,H,W] by 90 degrees orientation % 4 times, and mirror it from 4 on; a copy."""
    turned = np.rot90(array, orientation % 4, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if orientation >= 4 else turned)


@lru_cache(maxsize=64)
def _shuffled(n: int, *entropy: int) -> np.ndarray:
    return np.random.default_rng(list(entropy)).permutation(n)
