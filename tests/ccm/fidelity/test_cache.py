"""Features are computed once per frame and network, and never answered wrongly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.fidelity.cache import CachedExtractor


class Counting:
    name = "counting"
    resize = "none"
    turns_alike = False

    def __init__(self, weights: str = "1" * 64) -> None:
        self.hash = weights
        self.seen = 0

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        self.seen += len(grey)
        return np.stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))], axis=1)


@pytest.fixture
def grey(rng) -> np.ndarray:
    return rng.random((5, 8, 8)).astype(np.float32)


def test_a_frame_is_looked_at_once_wherever_it_stands(grey, tmp_path: Path) -> None:
    counting = Counting()
    cached = CachedExtractor(counting, tmp_path)
    first = cached(grey)
    assert np.array_equal(first, Counting()(grey)) and counting.seen == 5
    assert np.array_equal(cached(grey[::-1]), first[::-1]) and counting.seen == 5


def test_only_new_frames_are_looked_at(grey, tmp_path: Path) -> None:
    counting = Counting()
    CachedExtractor(counting, tmp_path)(grey[:3])
    assert np.array_equal(CachedExtractor(counting, tmp_path)(grey), Counting()(grey))
    assert counting.seen == 5


def test_one_changed_pixel_and_another_network_are_new(grey, tmp_path: Path) -> None:
    CachedExtractor(Counting(), tmp_path)(grey[:1])
    changed = grey[:1].copy()
    changed[0, 0, 0] += 1e-3
    for frames, network in ((changed, Counting()), (grey[:1], Counting("2" * 64))):
        CachedExtractor(network, tmp_path)(frames)
        assert network.seen == 1


def test_the_shape_is_part_of_the_frame(grey, tmp_path: Path) -> None:
    CachedExtractor(Counting(), tmp_path)(grey[:1])
    other = Counting()
    CachedExtractor(other, tmp_path)(grey[:1].reshape(1, 4, 16))
    assert other.seen == 1


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array"])
def test_a_damaged_file_is_computed_again(grey, tmp_path: Path, damage: bytes) -> None:
    truth = CachedExtractor(Counting(), tmp_path)(grey[:1])
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(damage)
    assert np.array_equal(CachedExtractor(Counting(), tmp_path)(grey[:1]), truth)
    assert np.array_equal(np.load(file), truth[0])
    assert not list(tmp_path.glob("*.part"))


def test_it_says_what_the_network_says_of_itself(tmp_path: Path) -> None:
    cached = CachedExtractor(Counting(), tmp_path)
    assert (cached.name, cached.hash, cached.resize) == ("counting", "1" * 64, "none")
    assert cached.turns_alike is False
