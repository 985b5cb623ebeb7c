from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import REFERENCES, Cohort
from ccm_pack.ccm.errors import TargetError
from ccm_pack.ccm.phantom.curves import length_of
from ccm_pack.ccm.phantom.topology import NerveTree, TreeTargets, grow_tree, sample_targets

SEEDS = range(6)


def tree_of(cohort: Cohort, seed: int) -> tuple[TreeTargets, NerveTree]:
    rng = np.random.default_rng(seed)
    targets = sample_targets(cohort, rng)
    return targets, grow_tree(targets, rng)


@pytest.mark.parametrize("cohort", Cohort)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_tree_meets_its_targets(cohort: Cohort, seed: int) -> None:
    targets, tree = tree_of(cohort, seed)
    assert tree.truth.cnfl_mm_per_mm2 == pytest.approx(targets.cnfl_mm_per_mm2, rel=0.05)
    assert tree.truth.cnfd_per_mm2 == pytest.approx(targets.cnfd_per_mm2)
    assert tree.truth.cnbd_per_mm2 == pytest.approx(targets.cnbd_per_mm2)


@pytest.mark.parametrize("mains", [1, 3, 6])
@pytest.mark.parametrize("points", [0, 2, 7])
def test_counts_are_exact_over_the_reachable_range(mains: int, points: int) -> None:
    cnfl = (mains * 300 + points * 60) * 1e-3 / 0.16
    tree = grow_tree(TreeTargets(cnfl, mains / 0.16, points / 0.16), np.random.default_rng(3))
    assert (tree.truth.main_fibres, tree.truth.branch_points) == (mains, points)


@pytest.mark.parametrize("cohort", Cohort)
def test_nerves_lie_in_the_frame_with_dense_points_and_sensible_widths(cohort: Cohort) -> None:
    for seed in SEEDS:
        for nerve in tree_of(cohort, seed)[1].nerves:
            assert nerve.points_um.min() >= 0 and nerve.points_um.max() <= 400
            steps = np.hypot(*np.diff(nerve.points_um, axis=0).T)
            assert steps.max() <= 2.8 and len(nerve.width_um) == len(nerve.points_um)
            thinnest, thickest = (1.6, 6.2) if nerve.role == "main" else (1.1, 3.4)
            assert thinnest < nerve.width_um.min() and nerve.width_um.max() < thickest


@pytest.mark.parametrize("cohort", Cohort)
def test_main_fibres_are_long_and_nothing_is_a_twig(cohort: Cohort) -> None:
    for seed in SEEDS:
        for nerve in tree_of(cohort, seed)[1].nerves:
            assert length_of(nerve.points_um) >= (100 if nerve.role == "main" else 15)
            assert (nerve.role == "main") == (nerve.parent is None)
            assert (nerve.role == "connection") == (nerve.joins is not None)


def gap(point: np.ndarray, line: np.ndarray) -> float:
    return float(np.hypot(*(line - point).T).min())


@pytest.mark.parametrize("cohort", Cohort)
def test_branches_start_on_their_parent_and_connections_end_on_another_nerve(cohort: Cohort) -> None:
    for seed in SEEDS:
        nerves = tree_of(cohort, seed)[1].nerves
        for nerve in nerves:
            if nerve.parent is not None:
                assert gap(nerve.points_um[0], nerves[nerve.parent].points_um) < 1e-9
            if nerve.joins is not None:
                assert gap(nerve.points_um[-1], nerves[nerve.joins].points_um) < 1e-9


@pytest.mark.parametrize("cohort", Cohort)
def test_unrelated_nerves_keep_apart_except_where_they_cross_steeply(cohort: Cohort) -> None:
    for seed in SEEDS:
        nerves = tree_of(cohort, seed)[1].nerves
        for i, one in enumerate(nerves):
            for j, two in enumerate(nerves[:i]):
                if j in (one.parent, one.joins) or i in (two.parent, two.joins):
                    continue
                apart = np.hypot(*np.moveaxis(one.points_um[:, None] - two.points_um[None], 2, 0)).min(axis=1)
                assert (apart < 8).sum() * 2.0 <= 30, (seed, i, j)


def test_the_same_seed_gives_the_same_tree_and_another_seed_another() -> None:
    first, again, other = (tree_of(Cohort.CONTROL, seed)[1] for seed in (5, 5, 6))
    assert first.truth == again.truth
    assert all((a.points_um == b.points_um).all() for a, b in zip(first.nerves, again.nerves, strict=True))
    assert first.truth != other.truth


@pytest.mark.parametrize("degrees", [0.0, 45.0, 90.0, 135.0])
def test_main_fibres_run_in_the_direction_asked_for(degrees: float) -> None:
    targets = TreeTargets(8.0, 25.0, 0.0, tortuosity=1.0, orientation_deg=degrees)
    tree = grow_tree(targets, np.random.default_rng(3))
    chords = np.array([nerve.points_um[-1] - nerve.points_um[0] for nerve in tree.nerves])
    off = np.rad2deg(np.arctan2(chords[:, 1], chords[:, 0])) - degrees
    assert abs(np.mean((off + 90) % 180 - 90)) < 12


def test_more_tortuosity_gives_more_tortuous_fibres() -> None:
    def tc(tortuosity: float) -> float:
        targets = TreeTargets(12.0, 25.0, 6.25, tortuosity)
        return float(
            np.mean([grow_tree(targets, np.random.default_rng(s)).truth.tortuosity_tc for s in SEEDS])
        )

    assert tc(0.5) < tc(3.0) < tc(8.0)


@pytest.mark.parametrize("size", [(400.0, 400.0), (300.0, 500.0), (800.0, 800.0)])
def test_frames_of_other_sizes_meet_their_targets_too(size: tuple[float, float]) -> None:
    area = size[0] * size[1] * 1e-6
    tree = grow_tree(TreeTargets(12.0, 4 / area, 6 / area), np.random.default_rng(1), size)
    assert (tree.truth.main_fibres, tree.truth.branch_points) == (4, 6)
    assert tree.truth.frame_area_mm2 == pytest.approx(area)


def test_no_main_fibre_is_refused_with_the_least_that_would_do() -> None:
    with pytest.raises(TargetError, match=r"0 main fibres.*6\.25 per mm2"):
        grow_tree(TreeTargets(10.0, 0.0, 0.0), np.random.default_rng(0))


def test_too_many_fibres_for_the_length_are_refused() -> None:
    with pytest.raises(TargetError, match="a CNFL of at least"):
        grow_tree(TreeTargets(3.0, 40.0, 0.0), np.random.default_rng(0))


def test_length_that_nothing_can_fill_is_refused() -> None:
    with pytest.raises(TargetError, match="No nerve tree found with CNFL 20"):
        grow_tree(TreeTargets(20.0, 12.5, 0.0), np.random.default_rng(0))


@pytest.mark.parametrize("cohort", Cohort)
def test_drawn_targets_follow_the_cohort_and_are_reachable(cohort: Cohort) -> None:
    trees = [tree_of(cohort, seed)[1] for seed in range(20)]
    reference = REFERENCES[cohort].cnfl_mm_per_mm2
    mean = np.mean([tree.truth.cnfl_mm_per_mm2 for tree in trees])
    assert mean == pytest.approx(reference.mean, abs=3 * reference.sd / np.sqrt(20))
