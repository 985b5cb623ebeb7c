"""Public layouts and a user's own folders: counts, patients, pixel sizes, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import trees
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import DataError, PixelSizeError
from ccm_pack.ccm.frames.listing import list_frames, read_records
from ccm_pack.ccm.frames.record import load_frame, load_mask

HRT_UM = 400 / 384


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


def test_qilu_is_recognised_and_its_names_tell_the_participant(tmp_path: Path) -> None:
    found = list_frames(trees.qilu(tmp_path))
    assert found.layout == "qilu"
    assert [r.patient for r in found.records] == ["101", "101", "102", "201", "201"]
    assert [r.mask.parent.name for r in found.records if r.mask] == ["annotations"] * 5
    assert {r.um_per_px for r in found.records} == {HRT_UM}
    assert {(r.cohort, r.split) for r in found.records} == {(None, None)}


def test_qilu_is_recognised_from_its_inner_folder_too(tmp_path: Path) -> None:
    assert list_frames(trees.qilu(tmp_path) / "Dataset").layout == "qilu"


def test_corn1_is_recognised_and_keeps_its_splits_but_knows_no_patient(tmp_path: Path) -> None:
    found = list_frames(trees.corn1(tmp_path))
    assert found.layout == "corn1"
    splits = [r.split for r in found.records]
    assert (splits.count("train"), splits.count("validation"), splits.count("test")) == (3, 2, 1)
    assert all(r.mask and r.mask.parent.name.endswith("_mask") and r.mask.is_file() for r in found.records)
    assert {(r.patient, r.um_per_px) for r in found.records} == {(None, HRT_UM)}


def test_padova_is_recognised_and_its_pixels_keep_the_area(tmp_path: Path) -> None:
    found = list_frames(trees.padova(tmp_path))
    assert (found.layout, len(found.records)) == ("padova", 3)
    for record in found.records:
        assert record.um_per_px**2 * 768 * 576 == pytest.approx(460 * 350)
        assert (record.patient, record.cohort, record.mask) == (None, None, None)
        assert load_frame(record).shape == (576, 768)


def test_hrt_exports_lose_their_footer_and_take_cohorts_from_folders(tmp_path: Path) -> None:
    records = read_records(trees.hrt(tmp_path))
    assert [r.cohort for r in records] == [Cohort.CONTROL, Cohort.CONTROL, Cohort.T1DPN]
    assert {r.um_per_px for r in records} == {HRT_UM}
    assert {load_frame(r).shape for r in records} == {(384, 384)}
    assert {load_mask(r).shape for r in records} == {(384, 384)}


def test_masks_are_found_by_folder_or_by_name(tmp_path: Path) -> None:
    for frame, mask in (
        ("images/a.png", "masks/a.png"),
        ("b.png", "masks/b.tif"),
        ("x/c.png", "x/c_mask.png"),
        ("y/d.png", "y/tracings/d-annotation.png"),
    ):
        trees.save(tmp_path / frame, seed=0)
        trees.save(tmp_path / mask)
    pairs = {r.frame.name: r.mask for r in read_records(tmp_path)}
    assert {frame: mask and mask.name for frame, mask in pairs.items()} == {
        "a.png": "a.png",
        "b.png": "b.tif",
        "c.png": "c_mask.png",
        "d.png": "d-annotation.png",
    }


def test_a_mask_without_a_frame_is_an_orphan_and_a_frame_without_a_mask_is_kept(tmp_path: Path) -> None:
    trees.save(tmp_path / "frames" / "a.png", seed=0)
    trees.save(tmp_path / "masks" / "b.png")
    found = list_frames(tmp_path)
    assert [(r.frame.name, r.mask) for r in found.records] == [("a.png", None)]
    assert names(list(found.orphan_masks)) == ["b.png"]


def test_two_masks_for_one_frame_are_refused_by_name(tmp_path: Path) -> None:
    trees.save(tmp_path / "a.png", seed=0)
    trees.save(tmp_path / "a_mask.png")
    trees.save(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=r"a_mask\.png and masks.a\.png could be the same pair"):
        list_frames(tmp_path)


def test_a_stray_file_in_a_public_layout_is_named(tmp_path: Path) -> None:
    trees.save(trees.qilu(tmp_path) / "Dataset" / "images" / "overview.png", seed=9)
    with pytest.raises(DataError, match=r"read as qilu .* but Dataset.images.overview\.png does not fit"):
        list_frames(tmp_path)
    assert len(list_frames(tmp_path, "folder").records) == 6


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    trees.save(tmp_path / "a.png", seed=0)
    trees.save(tmp_path / "__MACOSX" / "a.png", seed=0)
    trees.save(tmp_path / "._a.png", seed=0)
    assert names([r.frame for r in read_records(tmp_path)]) == ["a.png"]


def test_a_single_picture_is_a_list_of_one(tmp_path: Path) -> None:
    records = read_records(trees.save(tmp_path / "a.png", 200, 200, seed=0))
    assert [(r.frame.name, r.um_per_px) for r in records] == [("a.png", 2.0)]


def test_a_frame_that_is_no_field_needs_its_pixel_size(tmp_path: Path) -> None:
    trees.save(tmp_path / "mosaic.png", 400, 300, seed=0)
    with pytest.raises(PixelSizeError, match=r"mosaic\.png is 400 x 300 pixels.*um_per_px"):
        read_records(tmp_path)
    assert read_records(tmp_path, um_per_px=0.9)[0].um_per_px == 0.9
    with pytest.raises(PixelSizeError):
        read_records(tmp_path, um_per_px=0.0)


def test_a_told_pixel_size_overrides_the_layouts(tmp_path: Path) -> None:
    assert {r.um_per_px for r in read_records(trees.qilu(tmp_path), um_per_px=0.8)} == {0.8}


def test_a_file_that_cannot_be_read_is_still_listed(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert names([r.frame for r in read_records(tmp_path)]) == ["empty.png"]


def test_a_path_without_frames_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        list_frames(tmp_path)
    with pytest.raises(DataError, match="is no folder, picture or table"):
        list_frames(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"^runs.none is no folder.* `python \. dataset phantoms runs/phantoms`"
    ):
        list_frames(Path("training/configs/../../runs/none"))
    with pytest.raises(DataError, match="Unknown layout 'quilu'"):
        list_frames(trees.qilu(tmp_path / "q"), "quilu")
