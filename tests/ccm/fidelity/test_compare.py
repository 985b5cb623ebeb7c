"""Two sets of frames to a report: what it says, and which sets it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.fidelity.compare import FidelityReport, compare
from ccm_pack.ccm.fidelity.summary import describe, to_json


class Blocks:
    """Mean of each of 4 x 4 blocks: 16 features of frames of any size."""

    name = "blocks"
    hash = "b" * 64
    resize = "none"
    turns_alike = False

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        rows = np.array_split(grey, 4, axis=1)
        return np.stack([b.mean(axis=(1, 2)) for r in rows for b in np.array_split(r, 4, axis=2)], axis=1)


def frames(rng: np.random.Generator, n: int, offset: float = 0.0, side: int = 16) -> np.ndarray:
    return (offset + 0.5 * rng.random((n, side, side))).astype(np.float32)


def report(reference: np.ndarray, generated: np.ndarray, seed: int = 0) -> FidelityReport:
    return compare(reference, generated, Blocks(), seed)


def test_the_text_carries_n_extractor_p_floor_and_the_warning(rng) -> None:
    text = describe(report(frames(rng, 60), frames(rng, 50, offset=0.3)))
    assert text.startswith("50 generated frames against 60 reference, unpaired")
    assert "16 of blocks (sha256 bbbbbbbbbbbb; none)" in text
    assert "permutation p = 0.001" in text and "The sets differ." in text
    assert "at 30 frames a side" in text and "floor, reference against reference" in text
    assert "never compare across either" in text and "Patients are unknown" in text


def test_sets_of_one_distribution_are_not_called_equal(rng) -> None:
    text = describe(report(frames(rng, 60), frames(rng, 60)))
    assert "No difference shown, which does not show that there is none." in text
    assert "go by p" in text
    assert "within the range of the floor: nothing here but sampling bias" in text


def test_the_share_of_bias_is_the_floor_over_the_distance_at_equal_n(rng) -> None:
    result = report(frames(rng, 60), frames(rng, 60, offset=0.02))
    assert result.floor is not None
    share = result.floor.real_real / result.floor.real_generated
    assert share > 0.5
    assert f"Mostly sampling bias: reference against itself already scores {share:.0%}" in describe(result)
    far = report(frames(rng, 60), frames(rng, 60, offset=0.3))
    assert "  Sampling bias: reference against itself" in describe(far)


def test_the_json_holds_every_number_with_its_extractor(rng) -> None:
    result = report(frames(rng, 60), frames(rng, 50, offset=0.3), seed=7)
    read = json.loads(to_json(result))
    assert read["mmd"]["statistics"]["value"] == result.mmd.statistics.value
    assert read["frechet"]["distance"] == result.frechet.distance
    assert read["floor"]["n"] == 30 and read["seed"] == 7
    assert {read[key]["extractor"]["name"] for key in ("mmd", "frechet", "floor")} == {"blocks"}


def test_a_seed_fixes_the_report(rng) -> None:
    a, b = frames(rng, 20), frames(rng, 20)
    assert to_json(report(a, b, 5)) == to_json(report(a, b, 5)) != to_json(report(a, b, 6))


def test_progress_counts_both_sets(rng) -> None:
    done: list[int] = []
    compare(frames(rng, 20), frames(rng, 9), Blocks(), 0, done.append)
    assert sum(done) == 29


def test_a_set_against_itself_scores_zero_and_is_called_copies(rng) -> None:
    a = frames(rng, 40)
    result = report(a, a)
    assert result.exact_copies == 40
    assert result.frechet.distance == pytest.approx(0.0, abs=1e-12)
    assert result.mmd.statistics.value < 0.0 and result.mmd.statistics.p_value > 0.9
    text = describe(result)
    assert "40 generated frames equal a reference frame" in text and "below the floor" in text


def test_repeated_frames_are_counted(rng) -> None:
    a = frames(rng, 40)
    result = report(a, np.concatenate([frames(rng, 10), a[:1], a[:1]]))
    assert (result.generated.distinct, result.exact_copies) == (11, 2)
    assert "1 generated frames repeat another generated frame." in describe(result)


def test_sets_of_two_sizes_are_compared_and_the_sizes_named(rng) -> None:
    text = describe(report(frames(rng, 20), frames(rng, 20, side=32)))
    assert "The sets differ in size (16 x 16 px, 32 x 32 px)" in text


def test_three_reference_frames_have_no_floor(rng) -> None:
    result = report(frames(rng, 3), frames(rng, 3))
    assert result.floor is None
    assert "floor: none" in describe(result)


def test_frames_that_cannot_be_judged_are_refused(rng) -> None:
    good = frames(rng, 4)
    blank = good.copy()
    blank[2] = 0.25
    for bad, said in (
        (good[:1], r"too few frames \(1\)"),
        (good[:0], r"too few frames \(0\)"),
        (blank, "frame 2 is blank"),
        (np.repeat(good[:1], 3, axis=0), "same frame 3 times"),
        (255.0 * good, "expected 0 to 1"),
    ):
        with pytest.raises(ImageError, match=f"Generated.*{said}"):
            report(good, bad)
        with pytest.raises(ImageError, match=f"Reference.*{said}"):
            report(bad, good)
