"""CCM_LoadFrames, CCM_SegmentNerves and CCM_FrameQuality with the real host's classes, in this process."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ccm_pack.ccm.errors import DataError, NetworkError
from ccm_pack.host.locate import find
from torch import Tensor, nn

UM = 400 / 384
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    if find() is None:
        pytest.skip("no ComfyUI: set COMFYUI_PATH, or run `python . test` once")
    found = importlib.import_module("ccm_pack.biomarker_nodes").NODES
    return {node.define_schema().node_id: node for node in found}


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """Two frames with 2 and 3 bright lines, and a table that tells whose they are."""
    for k in (2, 3):
        frame = np.full((384, 384), 60.0) + 6 * np.random.default_rng(k).standard_normal((384, 384))
        for line in range(k):
            frame[70 + 90 * line : 74 + 90 * line] += 120
        cv2.imwrite(str(tmp_path / f"{k}.png"), frame.clip(0, 255).astype(np.uint8))
    (tmp_path / "table.csv").write_text("frame,patient,eye,cohort\n2.png,p1,OD,Control\n3.png,p2,OS,T1DPN\n")
    return tmp_path


def test_a_table_becomes_a_batch_with_its_records(nodes, folder) -> None:
    image, um_per_px, records = nodes["CCM_LoadFrames"].execute(str(folder), 0, 8, 0.0).args
    assert image.shape == (2, 384, 384, 3) and um_per_px == pytest.approx(UM)
    told = json.loads(records)
    assert told["available"] == 2
    assert [(f["frame"], f["patient"], f["eye"], f["cohort"]) for f in told["frames"]] == [
        ("2.png", "p1", "OD", "Control"),
        ("3.png", "p2", "OS", "T1DPN"),
    ]


def test_first_and_count_choose_frames(nodes, folder) -> None:
    image, _, records = nodes["CCM_LoadFrames"].execute(str(folder), 1, 1, 0.0).args
    assert len(image) == 1 and json.loads(records)["frames"][0]["frame"] == "3.png"


def test_frames_of_two_sizes_are_refused_by_name(nodes, folder) -> None:
    cv2.imwrite(str(folder / "3.png"), np.zeros((96, 96), np.uint8))
    with pytest.raises(DataError, match=r"3\.png is 96 x 96"):
        nodes["CCM_LoadFrames"].execute(str(folder), 0, 8, 0.0)


def test_a_path_that_is_nowhere_is_refused_before_the_run(nodes) -> None:
    assert "no folder" in nodes["CCM_LoadFrames"].validate_inputs("/nowhere", 0.0)


def test_a_changed_file_changes_the_fingerprint(nodes, folder) -> None:
    before = nodes["CCM_LoadFrames"].fingerprint_inputs(str(folder))
    cv2.imwrite(str(folder / "2.png"), np.zeros((384, 384), np.uint8))
    assert nodes["CCM_LoadFrames"].fingerprint_inputs(str(folder)) != before


def test_frames_from_disk_give_one_row_each(nodes, folder) -> None:
    """Load, segment, measure: 2 and 3 lines across the frame are 2 and 3 main fibres."""
    image, um_per_px, _ = nodes["CCM_LoadFrames"].execute(str(folder), 0, 8, 0.0).args
    mask, quality = nodes["CCM_SegmentNerves"].execute(image, um_per_px).args
    table, text, *_ = nodes["CCM_NerveBiomarkers"].execute(mask, um_per_px).args
    assert [frame["main_fibres"] for frame in json.loads(text)["frames"]] == [2, 3]
    assert len(quality.splitlines()) == 2


def test_quality_flags_a_black_frame_and_counts_the_rest(nodes, folder) -> None:
    image, um_per_px, _ = nodes["CCM_LoadFrames"].execute(str(folder), 0, 8, 0.0).args
    report, text, usable = (
        nodes["CCM_FrameQuality"].execute(torch.cat([image, 0 * image[:1]]), um_per_px).args
    )
    frames = json.loads(text)["frames"]
    assert "saturated" in report.splitlines()[2] and not frames[2]["usable"]
    assert usable == sum(frame["usable"] for frame in frames)


def test_a_network_of_the_users_own_is_listed_and_used(nodes, tmp_path, monkeypatch) -> None:
    import folder_paths

    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(0, 1)

    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", dict(folder_paths.folder_names_and_paths))
    (tmp_path / "ccm_segmenters").mkdir()
    torch.jit.script(Bright()).save(str(tmp_path / "ccm_segmenters" / "bright.pt"))
    node = nodes["CCM_SegmentNerves"]
    assert node.validate_inputs("bright.pt") is True
    image = torch.zeros(1, 64, 64, 3)
    image[:, 20:30] = 0.9
    mask = node.execute(image, UM, "bright.pt").args[0]
    assert torch.equal(mask, (image[..., 0] > 0.5).float())


def test_a_network_that_is_not_there_is_refused_before_the_run(nodes) -> None:
    assert "ccm_segmenters" in nodes["CCM_SegmentNerves"].validate_inputs("gone.onnx")
    with pytest.raises(NetworkError, match=r"gone\.onnx"):
        nodes["CCM_SegmentNerves"].execute(torch.zeros(1, 32, 32, 3), UM, "gone.onnx")
