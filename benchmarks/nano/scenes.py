"""Phantom patients that no training has seen: tree, mask and phantom frame of each, and the frames made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ...ccm.cohorts import Cohort, clinical_prompt
from ...ccm.fidelity.features import FeatureExtractor, FeatureSet, extract, load_nerve_encoder
from ...ccm.parallel import map_processes
from ...ccm.phantom.tree import NerveTree
from ...training.data.phantoms import PhantomFrame, PhantomRequest, draw_phantom, plan_frames
from .studio import FEW_STEPS, FOLDER, STANDARD, Frame, Sampling, Studio, Wish

COHORTS = tuple(Cohort)
FIRST_SEED = 10_000  # training uses small seeds
TRAINING_SEED = 2  # of the phantom patients that the adapters were trained on
TRAINING_PATIENTS, TRAINING_FRAMES = 1000, 4
HELD_OUT = 150
SEEN = 600  # of the phantoms that the adapters were trained on


@dataclass(frozen=True)
class Scene:
    """One frame of a phantom patient: its tree, its mask bool [H,W], also as a file, and its phantom in 0..1."""

    number: int
    cohort: Cohort
    tree: NerveTree
    mask: np.ndarray
    mask_file: Path
    phantom: np.ndarray


@dataclass(frozen=True)
class Shot:
    """A generated frame, and what it was asked to show."""

    scene: Scene
    cohort: Cohort
    seed: int
    frame: Frame


class Bench:
    """What the parts share: the studio and its frames, the scenes, and the features of phantoms."""

    def __init__(self, studio: Studio, masks: int, seeds: int) -> None:
        self.studio, self.masks, self.seeds = studio, masks, seeds

    @cached_property
    def scenes(self) -> list[Scene]:
        """The patients whose masks are used."""
        return draw_scenes(range(self.masks))

    @cached_property
    def heldout(self) -> list[Scene]:
        """Further patients, whose phantoms are compared with."""
        return draw_scenes(range(self.masks, self.masks + HELD_OUT))

    @cached_property
    def encoder(self) -> FeatureExtractor:
        return load_nerve_encoder()

    @cached_property
    def training(self) -> tuple[np.ndarray, list[Cohort]]:
        """Phantoms [N,H,W] that the adapters were trained on, one of each patient, and their cohorts."""
        request = PhantomRequest(TRAINING_PATIENTS, TRAINING_FRAMES, TRAINING_SEED)
        plan = [item for item in plan_frames(request) if item.frame == 0][:SEEN]
        frames = [drawn[0] for drawn in _draw(request, plan, "phantoms of training")]
        return np.stack(frames).astype(np.float32) / 255, [_cohort(item) for item in plan]

    @cached_property
    def training_features(self) -> FeatureSet:
        return self.features(self.training[0], "features of training")

    @cached_property
    def heldout_features(self) -> FeatureSet:
        return self.features([scene.phantom for scene in self.heldout], "features of held-out phantoms")

    @cached_property
    def grid(self) -> list[Shot]:
        """Every mask with every cohort's prompt, as often as there are seeds."""
        cases = [(s, c, seed) for seed in range(self.seeds) for s in self.scenes for c in COHORTS]
        return self.shots(cases, "frames of all cohorts")

    @property
    def matched(self) -> list[Shot]:
        """Those frames of the grid whose mask is of the cohort that was asked for."""
        return [shot for shot in self.grid if shot.cohort is shot.scene.cohort]

    def shots(
        self,
        cases: Sequence[tuple[Scene, Cohort, int]],
        label: str,
        sampling: Sampling = STANDARD,
        adapter: str | None = "wdlora",
    ) -> list[Shot]:
        wishes = [
            Wish(
                clinical_prompt(c), FIRST_SEED + seed * self.masks + s.number, s.mask_file, sampling, adapter
            )
            for s, c, seed in cases
        ]
        frames = self.studio.frames(wishes, label)
        return [Shot(*case, frame) for case, frame in zip(cases, frames, strict=True)]

    def matched_shots(self, seed: int, label: str, sampling: Sampling, adapter: str | None) -> list[Shot]:
        """Every mask with the prompt of its own cohort."""
        return self.shots([(s, s.cohort, seed) for s in self.scenes], label, sampling, adapter)

    def features(self, frames: Sequence[np.ndarray] | np.ndarray, label: str) -> FeatureSet:
        return look_at(self.encoder, frames, label)


def look_at(extractor: FeatureExtractor, frames: Sequence[np.ndarray] | np.ndarray, label: str) -> FeatureSet:
    """Extract features under a progress bar."""
    from tqdm import tqdm

    with tqdm(total=len(frames), desc=label, unit="frame") as bar:

        def on_batch(count: int) -> None:
            bar.update(count)

        return extract(extractor, np.stack(list(frames)), on_batch=on_batch)


def draw_scenes(patients: range) -> list[Scene]:
    """Draw one frame of each patient, by all cores, and write the masks."""
    request = PhantomRequest(max(patients.stop, 3), 1, FIRST_SEED)
    plan = [item for item in plan_frames(request) if item.patient in patients]
    drawn = _draw(request, plan, "phantoms")
    return [_scene(item, *three) for item, three in zip(plan, drawn, strict=True)]


def _draw(
    request: PhantomRequest, plan: list[PhantomFrame], label: str
) -> Iterator[tuple[np.ndarray, np.ndarray, NerveTree]]:
    from tqdm import tqdm

    yield from tqdm(
        map_processes(partial(draw_phantom, request), plan), desc=label, unit="frame", total=len(plan)
    )


def _scene(item: PhantomFrame, frame: np.ndarray, mask: np.ndarray, tree: NerveTree) -> Scene:
    file = FOLDER / "masks" / f"mask_{item.patient:03}.png"
    write_grey(file, mask)
    return Scene(item.patient, _cohort(item), tree, mask > 127, file, frame.astype(np.float32) / 255)


def write_grey(file: Path, pixels: np.ndarray) -> Path:
    """Write grey pixels, uint8 [H,W], as a PNG, and return the file."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


def _cohort(item: PhantomFrame) -> Cohort:
    assert item.record.cohort is not None
    return item.record.cohort


__all__ = [
    "COHORTS",
    "FEW_STEPS",
    "STANDARD",
    "Bench",
    "Scene",
    "Shot",
    "draw_scenes",
    "look_at",
    "write_grey",
]
