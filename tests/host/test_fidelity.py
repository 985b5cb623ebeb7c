"""CCM_Fidelity with the real host's folders, model management and progress, in this process, on the CPU."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ccm_pack.ccm.errors import ExtractorError, ImageError
from ccm_pack.ccm.fidelity.features import NERVE_ENCODER
from ccm_pack.ccm.fidelity.inception import inception
from ccm_pack.host.locate import find

FILE = "inception.pth"


@pytest.fixture(scope="module")
def folder_paths() -> Any:
    folder = find()
    if folder is None:
        pytest.skip("no ComfyUI: set COMFYUI_PATH, or run `python . test` once")
    sys.path.insert(0, str(folder))
    importlib.import_module("comfy.cli_args").args.cpu = True
    return importlib.import_module("folder_paths")


@pytest.fixture(scope="module")
def node(folder_paths: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The node, with random Inception weights in a folder that the host lists, beside a file that is none."""
    folder = tmp_path_factory.mktemp("extractors")
    torch.manual_seed(0)
    torch.save(inception().state_dict(), folder / FILE)
    (folder / "notes.txt").write_text("not an extractor")
    ours = importlib.import_module("ccm_pack.biomarker_nodes.fidelity")
    folder_paths.add_model_folder_path("ccm_extractors", str(folder))
    return ours.Fidelity


@pytest.fixture(autouse=True)
def executor(node: Any) -> Iterator[None]:
    """Run the test as the host's executor runs nodes, and unload everything after it."""
    with torch.inference_mode():
        yield
    importlib.import_module("comfy.model_management").unload_all_models()


def frames(n: int, seed: int, side: int = 48) -> torch.Tensor:
    return torch.rand((n, side, side, 3), generator=torch.Generator().manual_seed(seed))


def options(node: Any) -> list[str]:
    return next(one for one in node.define_schema().inputs if one.id == "extractor").options


def test_the_list_holds_the_embedded_encoder_and_the_weight_files_of_the_folder(node: Any) -> None:
    assert options(node)[0] == NERVE_ENCODER
    assert FILE in options(node) and "notes.txt" not in options(node)


def test_registering_the_folder_leaves_the_suffixes_of_other_folders_alone(
    node: Any, folder_paths: Any
) -> None:
    before = {name: set(suffixes) for name, (_, suffixes) in folder_paths.folder_names_and_paths.items()}
    options(node)
    options(node)
    after = {name: set(suffixes) for name, (_, suffixes) in folder_paths.folder_names_and_paths.items()}
    assert before == after
    assert after["ccm_extractors"] == {".pth", ".pt", ".safetensors"}


@pytest.mark.parametrize("extractor", [NERVE_ENCODER, FILE])
def test_two_batches_of_two_sizes_give_a_report_and_json(node: Any, extractor: str) -> None:
    result = node.execute(frames(6, 0), frames(5, 1, side=64), extractor, seed=3)
    text, numbers = result.args[0], json.loads(result.args[1])
    assert result.ui.as_dict()["text"] == (text,)
    assert "5 generated frames against 6 reference" in text and "48 x 48 px, 64 x 64 px" in text
    assert numbers["seed"] == 3 and numbers["mmd"]["n_b"] == 5
    assert extractor in numbers["frechet"]["extractor"]["name"]


@pytest.mark.parametrize(
    ("generated", "said"),
    [
        (frames(1, 1), r"Generated has too few frames \(1\)"),
        (torch.zeros((3, 48, 48, 3)), "Generated frame 0 is blank"),
        (torch.full((3, 48, 48, 3), torch.nan), "NaN"),
        (torch.zeros((0, 48, 48, 3)), "no pixels"),
        (frames(1, 1).repeat(3, 1, 1, 1), "same frame 3 times"),
        (255.0 * frames(3, 1), "expected 0 to 1"),
    ],
)
def test_a_batch_that_cannot_be_judged_is_refused(node: Any, generated: torch.Tensor, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        node.execute(frames(4, 0), generated, FILE, seed=0)


def test_an_extractor_that_is_gone_is_named_with_the_folders_searched(node: Any) -> None:
    said = node.validate_inputs("gone.pth")
    assert "gone.pth" in said and "ccm_extractors" in said and "Fix:" in said
    with pytest.raises(ExtractorError, match="gone"):
        node.execute(frames(4, 0), frames(4, 1), "gone.pth", seed=0)


def test_a_path_out_of_the_folder_is_no_extractor(node: Any, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "secret.pth")
    assert "There is no extractor" in node.validate_inputs(f"../{tmp_path.name}/secret.pth")


def test_a_changed_file_changes_the_fingerprint(node: Any, folder_paths: Any) -> None:
    file = Path(folder_paths.get_full_path("ccm_extractors", FILE))
    before = node.fingerprint_inputs(FILE)
    file.write_bytes(file.read_bytes())
    assert node.fingerprint_inputs(FILE) != before
    assert node.validate_inputs(FILE) is True
