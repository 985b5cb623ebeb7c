"""The data set on disk: marks, manifest, folder and tables, with files small enough to check by hand."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ccm_pack.ccm.dataset.folder import DatasetFolder, Pictures, Place
from ccm_pack.ccm.dataset.from_graph import Origin, save_batch
from ccm_pack.ccm.dataset.manifest import Manifest
from ccm_pack.ccm.dataset.marks import decode, encode, mark, read_mark, read_texts, sha256
from ccm_pack.ccm.errors import DataError, ImageError, MaskError
from ccm_pack.ccm.frames.listing import list_frames

GREY = np.arange(16, dtype=np.uint8).reshape(4, 4)
PLACE = Place("Control", "SYN1", "OD", 1)
TOLD = {"um_per_px": 100.0, "seed": 5, "split": "test", "request": "r"}


def test_a_mark_changes_no_pixel_and_no_other_text() -> None:
    content = encode(GREY, {"prompt": '{"1": 2}'})
    marked = mark(content, {"item": "x"})
    assert (decode(marked) == GREY).all()
    assert read_mark(marked) == {"synthetic": True, "note": "synthetic, not for clinical use", "item": "x"}
    assert read_texts(marked)["prompt"] == '{"1": 2}'
    assert read_mark(content) == {}


@pytest.mark.parametrize("content", [b"", b"no picture", encode(GREY)[:-30], encode(GREY)[:20]])
def test_what_is_no_whole_png_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError):
        decode(content)


def test_a_changed_byte_inside_a_png_is_noticed() -> None:
    content = bytearray(encode(np.zeros((64, 64), np.uint8)))
    content[60] ^= 0xFF
    with pytest.raises(ImageError):
        decode(bytes(content))


def test_half_a_line_is_cut_off_and_the_rest_stays(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": ')
    manifest = Manifest(tmp_path / "m.jsonl").open()
    manifest.append([{"n": 3}, {"n": 4}])
    manifest.close()
    assert [row["n"] for _, row in manifest.rows()] == [1, 2, 3, 4]


def test_a_line_that_the_disk_takes_only_in_part_is_taken_back(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m.jsonl").open()
    manifest.append([{"n": 1}])
    file = manifest._file

    class Full:
        def write(self, lines: bytes) -> int:
            return file.write(lines[: len(lines) // 2])

        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

    manifest._file = Full()  # type: ignore[assignment]
    with pytest.raises(OSError) as caught:
        manifest.append([{"n": 2}])
    assert caught.value.errno == errno.ENOSPC
    assert (tmp_path / "m.jsonl").read_bytes() == b'{"n": 1}\n'


def test_a_manifest_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    first = Manifest(tmp_path / "m.jsonl").open()
    with pytest.raises(DataError, match="written by another process"):
        Manifest(tmp_path / "m.jsonl").open()
    first.close()
    Manifest(tmp_path / "m.jsonl").open().close()


def test_a_line_that_is_no_json_is_shown(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("{}\nscribble\n")
    with pytest.raises(DataError, match="scribble"):
        list(Manifest(tmp_path / "m.jsonl").rows())


def test_a_saved_frame_is_done_as_long_as_its_files_are(tmp_path: Path) -> None:
    with DatasetFolder(tmp_path) as folder:
        row = folder.save(PLACE, Pictures(encode(GREY), encode(GREY)), TOLD)
        folder.manifest.append([row])
    assert row["sha256"] == sha256((tmp_path / row["file"]).read_bytes())
    assert row["file"] == "frames/Control/sub-SYN1_sample-OD_run-001_CONF.png" and row["size_px"] == [4, 4]
    assert folder.done() == {PLACE.name: "r"}
    os.truncate(tmp_path / row["mask"], 10)
    assert folder.done() == {}


def test_a_changed_file_of_the_same_size_is_found_by_its_hash_only(tmp_path: Path) -> None:
    with DatasetFolder(tmp_path) as folder:
        row = folder.save(PLACE, Pictures(encode(GREY)), TOLD)
        folder.manifest.append([row])
    content = bytearray((tmp_path / row["file"]).read_bytes())
    content[-1] ^= 1
    (tmp_path / row["file"]).write_bytes(bytes(content))
    assert folder.done() and not folder.done(rehash=True)


def test_the_tables_serve_the_trainer_monai_and_bids(tmp_path: Path) -> None:
    with DatasetFolder(tmp_path) as folder:
        for number, patient in ((2, "SYN2"), (1, "SYN1")):
            place = Place("T1DPN", patient, "OS", number)
            folder.manifest.append([folder.save(place, Pictures(encode(GREY), encode(GREY)), TOLD)])
        assert folder.finish() == 2
    with open(tmp_path / "table.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["patient"] for line in lines] == ["SYN1", "SYN2"]
    assert {line["synthetic"] for line in lines} == {"synthetic"} and lines[0]["split"] == "test"
    lists = json.loads((tmp_path / "dataset.json").read_text())
    assert (
        len(lists["test"]) == 2
        and lists["training"] == []
        and (tmp_path / lists["test"][0]["label"]).is_file()
    )
    assert (tmp_path / "participants.tsv").read_text().splitlines()[
        1
    ] == "sub-SYN1\tT1DPN\thomo sapiens\tsynthetic"
    assert [record.patient for record in list_frames(tmp_path).records] == ["SYN1", "SYN2"]


def test_frames_of_a_graph_are_added_to_those_before(tmp_path: Path) -> None:
    origin = Origin("Control", "SYN9", "OD", {"prompt": "{}"})
    frames = np.stack([GREY / 255, GREY / 128]).astype(np.float32)
    assert save_batch(tmp_path, origin, frames, np.ones((1, 4, 4), np.float32)) == (2, 2)
    assert save_batch(tmp_path, origin, 1.0 - frames, None) == (2, 4)
    names = sorted(file.name for file in (tmp_path / "frames").rglob("*.png"))
    assert names == [f"sub-SYN9_sample-OD_run-{n:03}_CONF.png" for n in (1, 2, 3, 4)]
    assert (decode((tmp_path / "frames" / "Control" / names[0]).read_bytes()) == GREY).all()
    assert len(list((tmp_path / "masks").rglob("*.png"))) == 2


def test_a_frame_that_is_there_is_not_added_again(tmp_path: Path) -> None:
    frames = np.stack([GREY / 255, GREY / 128]).astype(np.float32)
    assert save_batch(tmp_path, Origin("Control", "SYN9", "OD", {}), frames[:1], None) == (1, 1)
    assert save_batch(tmp_path, Origin("Control", "SYN9", "OD", {}), frames, None) == (1, 2)


def test_without_a_patient_each_frame_of_a_graph_is_of_a_new_one(tmp_path: Path) -> None:
    frames = np.arange(2 * 16, dtype=np.float32).reshape(2, 4, 4) / 255
    for number, cohort in enumerate(("Control", "T1DPN", "Control")):
        save_batch(tmp_path, Origin(cohort, "", "OS", {}), frames + number / 2, np.ones_like(frames))
    records = list_frames(tmp_path).records
    wanted = [f"SYNControl{n:05}" for n in (1, 2, 3, 4)] + ["SYNT1DPN00001", "SYNT1DPN00002"]
    assert sorted(str(record.patient) for record in records) == wanted


@pytest.mark.parametrize("patient", ["John Smith", " ", "a/b", "Müller"])
def test_a_patient_that_no_file_can_be_named_after_is_refused(tmp_path: Path, patient: str) -> None:
    with pytest.raises(DataError, match="letters and digits"):
        save_batch(tmp_path, Origin("Control", patient, "OD", {}), np.zeros((1, 4, 4), np.float32), None)


def test_frames_and_masks_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    origin = Origin("Control", "SYN1", "OD", {})
    with pytest.raises(MaskError, match="3 frames .* and 2 masks"):
        save_batch(tmp_path, origin, np.zeros((3, 4, 4), np.float32), np.zeros((2, 4, 4), np.float32))
    with pytest.raises(ImageError, match="8 x 4"):
        save_batch(tmp_path, origin, np.zeros((1, 4, 8), np.float32), None)
