from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.ccm.frames.record import Record
from ccm_pack.training.cache import TensorCache
from ccm_pack.training.data.sampler import Sample, orient
from ccm_pack.training.prepare import Prepared
from PIL import Image

PX = 8


class FakeBase:
    """A base whose latents are block means, and whose hints are the masks themselves, in pixels."""

    family, latent_px = "fake", PX

    def __init__(self, text_sees_mask: bool = False, fingerprint: str = "f") -> None:
        self.text_sees_mask, self.fingerprint = text_sees_mask, fingerprint
        self.encoded: list[str] = []
        self.freed = False

    def prompt_for(self, cohort: Cohort | None) -> str:
        return "neutral" if cohort is None else cohort.value

    def encode_frames(self, frames: torch.Tensor) -> torch.Tensor:
        self.encoded.append("frame")
        return F.avg_pool2d(frames[:, None], PX)

    def encode_mask(self, mask: torch.Tensor) -> Mapping[str, torch.Tensor]:
        self.encoded.append("mask")
        return {"hint": mask[None, None]}

    def encode_prompt(self, prompt: str, mask: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
        self.encoded.append(f"prompt {prompt}")
        seen = torch.zeros(1) if mask is None else mask.mean().reshape(1)
        return {"letters": torch.tensor([[len(prompt)]]), "seen": seen}

    def free_encoders(self) -> None:
        self.freed = True


def sample(record: int = 0, **changes: Any) -> Sample:
    defaults = {"orientation": 0, "crop": (0.0, 0.0), "drop_caption": False, "drop_control": False}
    return Sample(record, **{**defaults, "noise_seed": 7, **changes})


def picture(path: Path, size: tuple[int, int], seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    pixels[0, 0] = 255  # so that reading a mask does not scale it
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [
        Record(
            picture(tmp_path / f"{k}.png", (64, 64), k),
            picture(tmp_path / f"{k}_mask.png", (64, 64), 10 + k),
            cohort,
        )
        for k, cohort in enumerate([Cohort.T1DPN, None])
    ]


def prepared(base: FakeBase, records: list[Record], tmp_path: Path, crop_px: int | None = None) -> Prepared:
    return Prepared(base, records, TensorCache(tmp_path / "cache"), SimpleNamespace(crop_px=crop_px))


def grey(path: Path | None) -> np.ndarray:
    return np.asarray(Image.open(str(path)), np.float32) / 255


@pytest.mark.parametrize("orientation", range(8))
def test_frame_mask_and_nerves_are_turned_alike(records, tmp_path: Path, orientation: int):
    batch = prepared(FakeBase(), records, tmp_path).batch([sample(orientation=orientation)])
    frame, mask = (
        torch.from_numpy(orient(grey(p), orientation)) for p in (records[0].frame, records[0].mask)
    )
    assert torch.allclose(batch.latents[0, 0], F.avg_pool2d(frame[None], PX)[0], atol=1e-6)
    assert torch.allclose(batch.condition.masks[0]["hint"][0, 0], mask)
    assert torch.allclose(batch.nerves[0], F.avg_pool2d(mask[None], PX)[0], atol=1e-6)


def test_a_crop_cuts_latents_nerves_and_hint_at_the_same_pixels(records, tmp_path: Path):
    whole = prepared(FakeBase(), records, tmp_path).batch([sample()])
    crop = prepared(FakeBase(), records, tmp_path, crop_px=32).batch([sample(crop=(1.0, 0.5))])  # x, y
    assert torch.equal(crop.latents, whole.latents[..., 2:6, 4:8])
    assert torch.equal(crop.nerves, whole.nerves[..., 2:6, 4:8])
    hint = whole.condition.masks[0]["hint"]
    assert torch.equal(crop.condition.masks[0]["hint"], hint[..., 16:48, 32:64])


def test_the_prompt_is_the_cohorts_or_the_neutral_one_or_empty_when_dropped(records, tmp_path: Path):
    base = FakeBase()
    prepared(base, records, tmp_path).batch([sample(0), sample(1), sample(1, drop_caption=True)])
    assert [what for what in base.encoded if what.startswith("prompt")] == [
        "prompt T1DPN",
        "prompt neutral",
        "prompt ",
    ]


def test_a_dropped_control_leaves_the_nerves_weighed(records, tmp_path: Path):
    batch = prepared(FakeBase(), records, tmp_path).batch([sample(drop_control=True)])
    assert batch.condition.masks == (None,)
    assert batch.nerves.mean() > 0.4


def test_a_record_without_a_mask_has_no_condition_and_no_nerves(records, tmp_path: Path):
    bare = [Record(records[0].frame)]
    batch = prepared(FakeBase(), bare, tmp_path).batch([sample()])
    assert batch.condition.masks == (None,) and batch.nerves.max() == 0


def test_what_was_filled_is_not_encoded_again_and_the_encoders_are_freed(records, tmp_path: Path):
    samples = [sample(0), sample(1, orientation=3), sample(1, orientation=3, noise_seed=9)]
    first, second = FakeBase(), FakeBase()
    prepared(first, records, tmp_path).fill(samples)
    assert len(first.encoded) == 6 and first.freed
    prepared(second, records, tmp_path).batch(samples)
    assert second.encoded == []


def test_another_base_shares_nothing(records, tmp_path: Path):
    prepared(FakeBase(), records, tmp_path).batch([sample()])
    other = FakeBase(fingerprint="g")
    prepared(other, records, tmp_path).batch([sample()])
    assert len(other.encoded) == 3


def test_a_prompt_that_sees_the_mask_is_encoded_for_each_mask_and_orientation(records, tmp_path: Path):
    base = FakeBase(text_sees_mask=True)
    data = prepared(base, [records[0], Record(records[0].frame, records[1].mask, Cohort.T1DPN)], tmp_path)
    batch = data.batch([sample(0), sample(0, orientation=1), sample(1), sample(0, drop_control=True)])
    assert base.encoded.count("prompt T1DPN") == 4
    assert batch.condition.prompts[3]["seen"] == 0 != batch.condition.prompts[0]["seen"]


def test_a_changed_file_is_encoded_again(records, tmp_path: Path):
    prepared(FakeBase(), records, tmp_path).batch([sample()])
    picture(records[0].mask, (64, 64), 99)
    again = FakeBase()
    prepared(again, records, tmp_path).batch([sample()])
    assert again.encoded == ["mask"]


def test_a_frame_that_is_no_whole_number_of_patches_is_cut_about_its_centre(tmp_path: Path):
    records = [Record(picture(tmp_path / "odd.png", (70, 84), 1))]
    batch = prepared(FakeBase(), records, tmp_path).batch([sample()])
    expected = F.avg_pool2d(torch.from_numpy(grey(records[0].frame)[None, 3:67, 2:82]), PX)[0]
    assert torch.allclose(batch.latents[0, 0], expected, atol=1e-6)


def test_frames_of_two_sizes_need_a_crop(records, tmp_path: Path):
    mixed = [records[0], Record(picture(tmp_path / "big.png", (96, 96), 1))]
    with pytest.raises(TrainingError, match="64 x 64, 96 x 96 pixels.*crop_px"):
        prepared(FakeBase(), mixed, tmp_path).batch([sample(0), sample(1)])
    assert prepared(FakeBase(), mixed, tmp_path, 32).batch([sample(0), sample(1)]).latents.shape[-2:] == (
        4,
        4,
    )


def test_a_mask_of_another_size_is_refused_by_name(records, tmp_path: Path):
    wrong = [Record(records[0].frame, picture(tmp_path / "wrong.png", (96, 96), 1))]
    with pytest.raises(TrainingError, match="wrong.png has another size than its frame .*0.png"):
        prepared(FakeBase(), wrong, tmp_path).batch([sample()])


def test_a_crop_must_fit_the_patches_and_the_frames(records, tmp_path: Path):
    with pytest.raises(TrainingError, match="crop_px = 50 is not a multiple of 16.*use 48"):
        prepared(FakeBase(), records, tmp_path, crop_px=50)
    with pytest.raises(TrainingError, match="0.png is smaller than .*at most 64"):
        prepared(FakeBase(), records, tmp_path, crop_px=80).batch([sample()])


def test_an_interrupted_fill_goes_on_where_it_stopped(records, tmp_path: Path):
    base = FakeBase()
    base.encode_mask = _interrupt
    with pytest.raises(KeyboardInterrupt):
        prepared(base, records, tmp_path).fill([sample(0)])
    again = FakeBase()
    prepared(again, records, tmp_path).fill([sample(0)])
    assert again.encoded == ["mask", "prompt T1DPN"]


def _interrupt(mask: torch.Tensor) -> Mapping[str, torch.Tensor]:
    raise KeyboardInterrupt
