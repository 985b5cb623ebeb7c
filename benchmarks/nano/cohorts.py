"""Does a frame show the cohort that it was asked for, as far as a phantom does, and no further?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ccm.cohorts import Cohort
from ...ccm.phantom.render import COHORT_APPEARANCE, render, sample_appearance
from .looks import Look, look_of, radial_power
from .rows import Row
from .scenes import COHORTS, Bench, Scene

RIDGE = 0.3  # share of the mean variance that is added to each feature's
SURE = 2.0  # standard errors


def cohort_rows(bench: Bench) -> list[Row]:
    """Accuracy of a classifier trained on phantoms, on held-out phantoms and on generated frames."""
    frames, cohorts = bench.training
    classify = fit(_features(bench.training_features.values, frames), cohorts)
    held = [scene.phantom for scene in bench.heldout]
    on_phantoms = _accuracy(
        classify(_features(bench.heldout_features.values, held)), [s.cohort for s in bench.heldout]
    )
    made = [shot.frame.grey for shot in bench.matched]
    seen = bench.features(made, "features of generated frames")
    found = classify(_features(seen.values, made))
    on_frames = _accuracy(found, [shot.cohort for shot in bench.matched])
    error = np.sqrt(on_frames * (1 - on_frames) / len(made))
    return [
        Row(
            "cohort_accuracy_phantoms",
            "classifier, held-out phantoms",
            on_phantoms,
            share=True,
            note=f"{len(held)} phantoms, {len(frames)} for training",
        ),
        Row(
            "cohort_accuracy",
            "classifier, generated frames",
            on_frames,
            share=True,
            note=f"{len(made)} frames, standard error {error:.1%}",
        ),
        Row("cohort_gap", "  apart", abs(on_frames - on_phantoms), "at most", 0.05, True),
    ]


def appearance_rows(bench: Bench) -> list[Row]:
    """Change of each declared parameter with mask and seed fixed: in standard errors, in the declared direction."""
    looks = {
        (shot.scene.number, shot.seed, shot.cohort): look_of(shot.frame.grey, shot.scene.mask)
        for shot in bench.grid
    }
    phantoms = {
        (scene.number, 0, cohort): look_of(_phantom(scene, cohort), scene.mask)
        for scene in bench.scenes
        for cohort in COHORTS
    }
    return [_direction(name, looks, phantoms) for name in Look._fields]


Looks = dict[tuple[int, int, Cohort], Look]


def _direction(name: str, looks: Looks, phantoms: Looks) -> Row:
    first, last = COHORTS[0], COHORTS[-1]
    sign = np.sign(getattr(COHORT_APPEARANCE[last], name) - getattr(COHORT_APPEARANCE[first], name))
    made, real = (_paired(name, group, first, last) for group in (looks, phantoms))
    means = " ".join(f"{_mean(name, looks, c):.3g}" for c in COHORTS)
    wanted = " ".join(f"{_mean(name, phantoms, c):.3g}" for c in COHORTS)
    note = f"{means} (phantoms {wanted}; {sign * real:+.1f})"
    return Row(
        f"moves_{name}", f"{name}, {first} to {last}, in SE", float(sign * made), "at least", SURE, note=note
    )


def _paired(name: str, looks: Looks, first: Cohort, last: Cohort) -> float:
    """Mean difference over its standard error."""
    pairs = {(number, seed) for number, seed, _ in looks}
    change = np.array([getattr(looks[(*p, last)], name) - getattr(looks[(*p, first)], name) for p in pairs])
    return float(change.mean() / max(change.std(ddof=1) / np.sqrt(len(change)), 1e-9))


def _mean(name: str, looks: Looks, cohort: Cohort) -> float:
    return float(np.mean([getattr(look, name) for (_, _, c), look in looks.items() if c is cohort]))


def _phantom(scene: Scene, cohort: Cohort) -> np.ndarray:
    """The scene's tree in the look of a cohort, the same draw of chance for all."""
    rng = np.random.default_rng(scene.number)
    return render(scene.tree, sample_appearance(cohort, rng), rng)


def _features(encoded: np.ndarray, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Features of the nerve encoder, mean and spread of the grey, and the power spectrum, [N,d]."""
    plain = [[f.mean(), f.std(), *np.log(radial_power(f))] for f in frames]
    return np.hstack([encoded, np.array(plain)])


def fit(features: np.ndarray, cohorts: Sequence[Cohort]):
    """Linear discriminant analysis with a ridge; returns a function from features [N,d] to cohorts."""
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    unit = (features - centre) / spread
    label = np.array([COHORTS.index(c) for c in cohorts])
    means = np.stack([unit[label == k].mean(axis=0) for k in range(len(COHORTS))])
    within = (unit - means[label]).T @ (unit - means[label]) / len(unit)
    weights = np.linalg.solve(within + RIDGE * np.trace(within) / len(within) * np.eye(len(within)), means.T)
    offset = -0.5 * np.einsum("kd,dk->k", means, weights)

    def classify(other: np.ndarray) -> list[Cohort]:
        scores = (other - centre) / spread @ weights + offset
        return [COHORTS[k] for k in scores.argmax(axis=1)]

    return classify


def _accuracy(found: Sequence[Cohort], truth: Sequence[Cohort]) -> float:
    return float(np.mean([f is t for f, t in zip(found, truth, strict=True)]))
