"""From records to batches: frames, masks and prompts, encoded once, cached on disk, cropped and joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..ccm.errors import TrainingError
from ..ccm.frames.record import Record, load_frame, load_mask
from .bases.base import Base, Condition, Tensors
from .cache import TensorCache, hash_file, key_of
from .data.sampler import orient

if TYPE_CHECKING:
    from .config import DataConfig
    from .data.sampler import Sample

VERSION = 1  # part of every key: raise it when the same inputs are encoded to something else
PATCH = 2  # latent pixels of a patch, in every family that works on patches
NERVES, HINT = "nerves", "condition."  # names of tensors in the entry of a mask


@dataclass(frozen=True)
class Batch:
    """Samples ready for the objective.

    Latents [B,C,h,w] or [B,C,1,h,w] as the autoencoder gives them; `nerves` [B,h,w] is the share of each latent
    pixel that is nerve; `noise_seeds` [B] fix the noise and the noise level of each sample.
    """

    latents: Tensor
    condition: Condition
    nerves: Tensor
    noise_seeds: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, part: slice) -> Batch:
        """Return some of the samples, such as a micro-batch."""
        return Batch(self.latents[part], self.condition[part], self.nerves[part], self.noise_seeds[part])

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with what the model sees on the device."""
        return Batch(
            self.latents.to(device), self.condition.to(device), self.nerves.to(device), self.noise_seeds
        )


class View(NamedTuple):
    """What has to be encoded for a sample; samples that differ in crop and noise only share it."""

    record: int
    orientation: int
    drop_caption: bool
    drop_control: bool


class _Part(NamedTuple):
    """One sample of a batch, latents [1,...], nerves [1,h,w]."""

    latents: Tensor
    prompt: Tensors
    mask: Tensors | None
    nerves: Tensor


Entry = tuple[str, Callable[[], Tensors]]  # key of a cache entry, and what computes it


class Prepared:
    """The records of a run as its base model sees them.

    Each orientation is encoded by itself, since autoencoders do not commute with turning; crops are cut out of
    the latents, so that one encoding serves all of them.
    """

    def __init__(self, base: Base, records: Sequence[Record], cache: TensorCache, config: DataConfig) -> None:
        """Raises TrainingError where `crop_px` does not fit the base's latents."""
        self.base, self.records, self.cache = base, records, cache
        self.grain_px = PATCH * base.latent_px
        if config.crop_px is not None and config.crop_px % self.grain_px:
            raise TrainingError(
                f"[data] crop_px = {config.crop_px} is not a multiple of {self.grain_px}, one patch of this base",
                fix=f"use {max(1, round(config.crop_px / self.grain_px)) * self.grain_px}",
            )
        self.crop = config.crop_px and config.crop_px // base.latent_px  # in latent pixels

    def fill(self, samples: Iterable[Sample]) -> None:
        """Encode what these samples need and the cache lacks, then free the encoders; safe to interrupt."""
        from tqdm import tqdm

        views = dict.fromkeys(View(s.record, s.orientation, s.drop_caption, s.drop_control) for s in samples)
        for view in tqdm(views, desc="encoding frames, masks and prompts", unit="sample", disable=None):
            self.cache.ensure(*self._frame(view))
            if self.records[view.record].mask is not None:
                self.cache.ensure(*self._mask(view))
            self.cache.ensure(*self._prompt(view))
        self.base.free_encoders()

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch of these samples, on the CPU.

        Raises TrainingError for frames of different sizes without crops, and for frames smaller than a crop.
        """
        parts = [self._sample(sample) for sample in samples]
        sizes = {tuple(part.latents.shape[-2:]) for part in parts}
        if len(sizes) > 1:
            px = ", ".join(f"{w * self.base.latent_px} x {h * self.base.latent_px}" for h, w in sorted(sizes))
            raise TrainingError(
                f"One batch holds frames of {px} pixels",
                fix="set [data] crop_px to a size that all frames have",
            )
        return Batch(
            torch.cat([part.latents for part in parts]),
            Condition(tuple(part.prompt for part in parts), tuple(part.mask for part in parts)),
            torch.cat([part.nerves for part in parts]),
            torch.tensor([sample.noise_seed for sample in samples]),
        )

    def _sample(self, sample: Sample) -> _Part:
        view = View(sample.record, sample.orientation, sample.drop_caption, sample.drop_control)
        latents = self.cache.get(*self._frame(view))["latents"]
        nerves, mask = torch.zeros(1, *latents.shape[-2:]), None
        if self.records[view.record].mask is not None:
            entry = self.cache.get(*self._mask(view))
            nerves = entry[NERVES]
            self._check_size(view, latents, nerves)
            mask = {k.removeprefix(HINT): t for k, t in entry.items() if k.startswith(HINT)}
        part = _Part(
            latents, self.cache.get(*self._prompt(view)), None if view.drop_control else mask, nerves
        )
        return part if self.crop is None else self._cropped(part, sample)

    def _check_size(self, view: View, latents: Tensor, nerves: Tensor) -> None:
        if latents.shape[-2:] != nerves.shape[-2:]:
            record = self.records[view.record]
            raise TrainingError(
                f"The mask {record.mask} has another size than its frame {record.frame}",
                fix="make the mask from the frame, pixel by pixel",
            )

    def _cropped(self, part: _Part, sample: Sample) -> _Part:
        side, (height, width) = self.crop or 0, part.latents.shape[-2:]
        if side > min(height, width):
            raise TrainingError(
                f"{self.records[sample.record].frame} is smaller than [data] crop_px",
                fix=f"use a crop_px of at most {min(height, width) * self.base.latent_px}",
            )
        x, y = (
            round(share * (room - side)) for share, room in zip(sample.crop, (width, height), strict=True)
        )

        def cut(tensor: Tensor) -> Tensor:
            k = tensor.shape[-1] // width  # a hint may be in pixels
            return tensor[..., k * y : k * (y + side), k * x : k * (x + side)]

        mask = part.mask and {name: cut(tensor) for name, tensor in part.mask.items()}
        return _Part(cut(part.latents), part.prompt, mask, cut(part.nerves))

    def _frame(self, view: View) -> Entry:
        record = self.records[view.record]

        def make() -> Tensors:
            return {"latents": self.base.encode_frames(self._turned(load_frame(record), view)[None])}

        return self._key("frame", _content(record.frame), view.orientation), make

    def _mask(self, view: View) -> Entry:
        def make() -> Tensors:
            mask = self._read_mask(view)
            hint = {f"{HINT}{name}": tensor for name, tensor in self.base.encode_mask(mask).items()}
            return {NERVES: F.avg_pool2d(mask[None], self.base.latent_px), **hint}

        return self._key("mask", self._mask_content(view), view.orientation), make

    def _prompt(self, view: View) -> Entry:
        record = self.records[view.record]
        prompt = "" if view.drop_caption else self.base.prompt_for(record.cohort)
        seen = self.base.text_sees_mask and record.mask is not None and not view.drop_control
        what = (self._mask_content(view), view.orientation) if seen else None

        def make() -> Tensors:
            return self.base.encode_prompt(prompt, self._read_mask(view) if seen else None)

        return self._key("prompt", prompt, what), make

    def _key(self, *inputs: object) -> str:
        return key_of(VERSION, self.base.fingerprint, *inputs)

    def _mask_content(self, view: View) -> str | None:
        path = self.records[view.record].mask
        return None if path is None else _content(path)

    def _read_mask(self, view: View) -> Tensor:
        mask = load_mask(self.records[view.record])
        assert mask is not None  # views without a mask do not come here
        return self._turned(mask, view)

    def _turned(self, array: np.ndarray, view: View) -> Tensor:
        """Cut an array [H,W] about its centre to whole patches, and turn it."""
        height, width = (size // self.grain_px * self.grain_px for size in array.shape)
        top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
        return torch.from_numpy(orient(array[top : top + height, left : left + width], view.orientation))


def _content(path: Path) -> str:
    stat = path.stat()
    return _hashed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=100_000)
def _hashed(path: Path, changed_ns: int, size: int) -> str:
    return hash_file(path)
