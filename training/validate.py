"""Validation: the adapter as it is now draws the nerves of patients that it has never seen.

Every validation of a run generates the same frames from the same noise, so that two of them differ by the adapter
only. It leaves a picture and a file of numbers for each frame in samples/; their means go to validation.jsonl,
and validation.criterion tells by one of them which checkpoint is the best.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..ccm.errors import TrainingError
from ..ccm.fidelity.features import ExtractorId, FeatureSet, extract, load_nerve_encoder
from ..ccm.fidelity.memorisation import extract_turned
from ..ccm.frames.record import Record, load_frame, load_mask
from ..ccm.morphometry.overlay import draw_overlay
from .bases import Base, Condition
from .cache import TensorCache, hash_file, key_of
from .checkpoint import replace_durably
from .config import TrainConfig
from .data.sampler import Sample
from .prepare import PATCH, Batch, Prepared
from .scores import Pair, Traced, equivalence, means, score_frame, score_set, trace
from .sheet import Row, draw_sheet

if TYPE_CHECKING:
    from .folder import RunFolder
    from .trainer import Setup

LABELS = {  # on the sheet, for what has room there
    "adherence_f1": "F1",
    "adherence_f1_of_real": "F1 of real frames",
    "cnfl_mm_per_mm2_error": "CNFL off by",
    "cnfd_per_mm2_error": "CNFD off by",
    "cnbd_per_mm2_error": "CNBD off by",
    "ssim": "SSIM",
    "mmd": "MMD",
    "nearest_dcr": "nearest training frame",
    "copies": "copies",
}
FEWEST = 2  # frames that a distance between sets needs
Paint = Callable[[int], np.ndarray]  # number of a held-out frame -> what is drawn in its place, [H,W] in 0..1


def for_run(setup: Setup, folder: RunFolder) -> Validation:
    """Return the validation of a training run, on its validation patients."""
    return Validation(setup, setup.splits.validation, folder.samples)


class Validation:
    """Generates held-out frames and measures them; called with the step, returns the means."""

    def __init__(self, setup: Setup, records: Sequence[Record], samples: Path) -> None:
        """Encode what is held out, and look at every real frame once.

        Raises TrainingError where fewer than two frames are held out.
        """
        if min(len(records), len(setup.splits.train)) < FEWEST:
            raise TrainingError(
                f"{len(records)} frames are held out and {len(setup.splits.train)} trained on",
                fix=f"raise data.fractions so that there are {FEWEST} of each, or set validation.every = 0",
            )
        self.base, self.config, self.samples = setup.base, setup.config, samples
        self.writes = setup.processes.is_main  # the others compute the same numbers
        self.cache = setup.prepared.cache
        self.chosen = choose(records, max(FEWEST, self.config.validation.frames))
        self.pairs = [_pair(record, setup.base) for record in self.chosen]
        self.batches, self.negatives = _encode(setup, self.chosen)
        self.encoder = load_nerve_encoder()
        patients = {record.patient for record in self.chosen}
        self.by_patient = None not in patients and len(patients) >= FEWEST  # else frames count as independent
        (self.heldout,) = self._features(records, turned=False)
        self.training = self._features(setup.splits.train, turned=self.config.data.flips)
        self.real = [trace(pair.frame, pair.um_per_px) for pair in self.pairs]
        self.ceiling = _ceiling(self.pairs, self.real)
        self.paint: Paint = self._generate

    def __call__(self, step: int) -> dict[str, float]:
        """Generate and measure; the adapter in the base is the one that is judged."""
        frames = [self.paint(number) for number in range(len(self.chosen))]
        traced = [trace(f, pair.um_per_px) for f, pair in zip(frames, self.pairs, strict=True)]
        scores = [score_frame(*three) for three in zip(frames, traced, self.pairs, strict=True)]
        features = [extract(self.encoder, frame[None]).values for frame in frames]
        generated = self._feature_set(np.concatenate(features), self.chosen)
        numbers = {
            **means(scores),
            **self.ceiling,
            **equivalence(traced, self.real, self.chosen),
            **score_set(generated, self.heldout, self.training),
        }
        if self.writes:
            self._record(step, frames, traced, scores, numbers)
        self.base.free_encoders()
        return numbers

    def _generate(self, number: int) -> np.ndarray:
        """Return frame [H,W] in 0..1 of one held-out mask and prompt."""
        batch, options = self.batches[number], self.config.validation
        latents = self.base.sample(
            batch.condition,
            self.negatives[number],
            int(batch.noise_seeds[0]),
            options.steps,
            options.guidance,
            batch.latents.shape,
        )
        return self.base.decode(latents)[0].float().clamp(0, 1).cpu().numpy()

    def _features(self, records: Sequence[Record], turned: bool) -> list[FeatureSet]:
        """Return the features of real frames, as they are or in all eight orientations.

        Each frame is looked at once by all runs that share the cache.
        """
        from tqdm import tqdm

        look = extract_turned if turned else lambda encoder, frames: [extract(encoder, frames)]

        def features(record: Record) -> np.ndarray:
            def make() -> dict[str, torch.Tensor]:
                frame = _cut(load_frame(record), self.base)
                found = [one.values[0] for one in look(self.encoder, frame[None])]
                return {"features": torch.from_numpy(np.stack(found))}

            key = key_of("features", self.encoder.hash, self.base.latent_px, turned, hash_file(record.frame))
            return self.cache.get(key, make)["features"].numpy()

        seen = [features(record) for record in tqdm(records, desc="looking at real frames", disable=None)]
        return [self._feature_set(np.stack(values), records) for values in zip(*seen, strict=True)]

    def _feature_set(self, values: np.ndarray, records: Sequence[Record]) -> FeatureSet:
        extractor = ExtractorId(self.encoder.name, self.encoder.hash, self.encoder.resize)
        patients = tuple(str(record.patient) for record in records)
        return FeatureSet(values, extractor, patients if self.by_patient else None)

    def _record(
        self,
        step: int,
        frames: Sequence[np.ndarray],
        traced: Sequence[Traced],
        scores: Sequence[dict[str, float]],
        numbers: dict[str, float],
    ) -> None:
        """Write the picture and the numbers of each frame."""
        rows = []
        for frame, seen, score, pair, record in zip(
            frames, traced, scores, self.pairs, self.chosen, strict=True
        ):
            overlay = draw_overlay(frame, seen.biomarkers, pair.um_per_px)
            cohort = "no cohort" if record.cohort is None else record.cohort.value
            rows.append(Row((pair.mask, pair.frame, frame, overlay), f"{cohort}   {_in_words(score)}"))
        title = f"Step {step}, {len(rows)} held-out frames\n{_in_words(numbers)}"
        self.samples.mkdir(parents=True, exist_ok=True)
        name = f"step_{step:08d}"
        replace_durably(self.samples / f"{name}.png", draw_sheet(title, rows))
        listed = [{"frame": r.frame.name, **s} for r, s in zip(self.chosen, scores, strict=True)]
        text = json.dumps({"step": step, "means": numbers, "frames": listed}, indent=1)
        replace_durably(self.samples / f"{name}.json", text.encode())


def _ceiling(pairs: Sequence[Pair], real: Sequence[Traced]) -> dict[str, float]:
    """Return the F1 of the real frames against their masks: where the tracing, not the generating, is the limit."""
    scored = [
        score_frame(p.frame, traced, p)["adherence_f1"]
        for p, traced in zip(pairs, real, strict=True)
        if p.mask is not None
    ]
    return {"adherence_f1_of_real": float(np.mean(scored))} if scored else {}


def _in_words(numbers: Mapping[str, float]) -> str:
    return "   ".join(f"{LABELS[name]} {value:.3g}" for name, value in numbers.items() if name in LABELS)


def choose(records: Sequence[Record], count: int) -> list[Record]:
    """Return the records to generate: those with masks if there are any, over all cohorts, then all patients."""
    masked = [record for record in records if record.mask is not None] or list(records)
    frames: Counter[Any] = Counter()
    patients: dict[Any, list[Any]] = {}
    turn = []
    for record in masked:
        patient = record.patient or record.frame
        known = patients.setdefault(record.cohort, [])
        if patient not in known:
            known.append(patient)
        turn.append((frames[patient], known.index(patient)))
        frames[patient] += 1
    order = sorted(
        range(len(masked)), key=turn.__getitem__
    )  # stable, so cohorts alternate as they are listed
    return [masked[number] for number in order[:count]]


def _encode(setup: Setup, records: Sequence[Record]) -> tuple[list[Batch], list[Condition]]:
    """Return each record as a batch of one, whole, and the negative prompt beside the same mask."""
    config: TrainConfig = setup.config
    base, cache = setup.base, setup.prepared.cache
    whole = Prepared(base, records, cache, replace(config.data, crop_px=None))
    samples = [
        Sample(number, 0, (0.0, 0.0), False, False, (config.run.seed + number) % 2**63)
        for number in range(len(records))
    ]
    negatives = [_negative(base, record, cache) for record in records]
    whole.fill(samples)
    batches = [whole.batch([sample]) for sample in samples]
    conditions = [
        Condition((negative,), batch.condition.masks)
        for negative, batch in zip(negatives, batches, strict=True)
    ]
    return batches, conditions


def _negative(base: Base, record: Record, cache: TensorCache) -> dict[str, torch.Tensor]:
    path = record.mask if base.text_sees_mask else None
    seen = None if path is None else _pair(record, base).mask
    key = key_of("negative", base.fingerprint, base.negative_prompt, path and hash_file(path))
    mask = None if seen is None else torch.from_numpy(seen)
    return cache.get(key, lambda: base.encode_prompt(base.negative_prompt, mask))


def _pair(record: Record, base: Base) -> Pair:
    mask = load_mask(record)
    frame = _cut(load_frame(record), base)
    return Pair(frame, None if mask is None else _cut(mask, base), record.um_per_px)


def _cut(array: np.ndarray, base: Base) -> np.ndarray:
    """Cut an array [H,W] about its centre to whole patches of the base, as the trainer does."""
    grain = PATCH * base.latent_px
    height, width = (size // grain * grain for size in array.shape)
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return np.ascontiguousarray(array[top : top + height, left : left + width])
