"""Copies planted among phantoms are found by the embedded nerve encoder, and little else is flagged."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import TargetError
from ccm_pack.ccm.fidelity.copies import describe, find_copies
from ccm_pack.ccm.fidelity.features import load_nerve_encoder
from ccm_pack.ccm.phantom.render import render, sample_appearance
from ccm_pack.ccm.phantom.topology import grow_tree, sample_targets

SHIFT_PX = 4


def phantoms(first: int, count: int) -> np.ndarray:
    """Frames [count,384,384], one patient each, the three cohorts in turn; frame n depends on n alone."""
    return np.stack([phantom(number) for number in range(first, first + count)])


def phantom(number: int) -> np.ndarray:
    rng = np.random.default_rng([99, number])
    cohort = list(Cohort)[number % 3]
    while True:
        try:
            tree = grow_tree(sample_targets(cohort, rng), rng)
        except TargetError:
            continue
        return render(tree, sample_appearance(cohort, rng), rng)


def copy(frame: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Turned or mirrored, shifted by 4 px, gain +-10 %, 2 % noise, JPEG of quality 85."""
    from PIL import Image

    turned = np.rot90(frame[:, ::-1] if number % 8 >= 4 else frame, number % 4)
    wide = np.pad(turned, SHIFT_PX, mode="reflect")
    down, across = 2 * SHIFT_PX * rng.integers(2), 2 * SHIFT_PX * rng.integers(2)
    moved = wide[down : down + len(frame), across : across + len(frame)]
    noisy = moved * rng.choice([0.9, 1.1]) + 0.02 * rng.standard_normal(moved.shape)
    file = io.BytesIO()
    Image.fromarray(np.round(255.0 * noisy.clip(0.0, 1.0)).astype(np.uint8)).save(file, "JPEG", quality=85)
    return np.asarray(Image.open(file), dtype=np.float32) / 255.0


def search(
    training: int, heldout: int, generated: int, planted: int, rng: np.random.Generator
) -> tuple[int, int]:
    """How many of the planted copies are flagged, and how many other frames."""
    known = phantoms(0, training)
    fresh = phantoms(training + heldout, generated - planted)
    step = training // planted
    copies = np.stack([copy(known[step * number], number, rng) for number in range(planted)])
    report = find_copies(
        np.concatenate([copies, fresh]), known, phantoms(training, heldout), load_nerve_encoder()
    )
    flagged = set(report.found.copies.tolist())
    found = {n for n in flagged if n < planted and report.found.nearest[n] == step * n}
    assert describe(report).startswith(f"{len(flagged)} of {generated} generated frames look like copies")
    return len(found), len({n for n in flagged if n >= planted})


def test_most_copies_among_a_few_frames_are_found(rng) -> None:
    found, false = search(training=16, heldout=24, generated=12, planted=4, rng=rng)
    assert found >= 3 and false <= 1


@pytest.mark.soak
def test_13_of_16_copies_among_318_are_found_with_at_most_2_percent_false_flags(rng) -> None:
    found, false = search(training=318, heldout=318, generated=318, planted=16, rng=rng)
    assert found >= 13
    assert false <= 0.02 * 302
