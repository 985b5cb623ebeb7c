"""The pack inside the real host: every node is there, described, and imported silently."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("import_pack.py")
NODE_IDS = {
    "CCM_LoadNano",
    "CCM_LoadFoundation",
    "CCM_LoadAdapter",
    "CCM_DPNPrompt",
    "CCM_PrepareNerveMask",
    "CCM_GenerateNerveMask",
    "CCM_ApplyNerveMaskControl",
    "CCM_NerveMaskReference",
    "CCM_NerveMaskConcat",
    "CCM_SaveDataset",
    "CCM_LoadFrames",
    "CCM_SegmentNerves",
    "CCM_FrameQuality",
    "CCM_NerveBiomarkers",
    "CCM_Fidelity",
    "CCM_PairedSimilarity",
    "CCM_FindCopies",
    "CCM_Equivalence",
    "CCM_Report",
}


@pytest.fixture(scope="module")
def ours(server: Any) -> dict[str, Any]:
    from ccm_pack.batch.client import Client

    with Client(server.address) as client:
        return {name: info for name, info in client.object_info().items() if name.startswith("CCM_")}


def import_pack(comfy: Path, *hidden: str) -> tuple[str, dict[str, Any]]:
    command = [sys.executable, "-W", "default", str(SCRIPT), str(comfy), str(ROOT), *hidden]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    said = done.stdout.split("host imported\n", 1)[1].splitlines()
    return "\n".join(said[:-1]), json.loads(said[-1])


def test_every_node_is_registered_under_its_frozen_id(ours: dict[str, Any]) -> None:
    assert set(ours) >= NODE_IDS


def test_every_node_says_what_it_does_and_has_a_help_page(ours: dict[str, Any]) -> None:
    for name, info in ours.items():
        assert info["description"], name
        assert info["category"].startswith("CCM/"), name
        assert (ROOT / "web" / "docs" / f"{name}.md").is_file(), name


def test_every_input_has_a_tooltip(ours: dict[str, Any]) -> None:
    for name, info in ours.items():
        for kind in ("required", "optional"):
            for key, spec in info["input"].get(kind, {}).items():
                assert len(spec) > 1 and spec[1].get("tooltip"), f"{name}.{key}"


def test_every_output_has_a_name_and_a_tooltip(ours: dict[str, Any]) -> None:
    for name, info in ours.items():
        assert all(info["output_name"]), name
        assert len(info["output_tooltips"]) == len(info["output"]) and all(info["output_tooltips"]), name


def test_importing_the_pack_prints_nothing(comfy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said, report = import_pack(comfy)
    with capsys.disabled():
        print(f"\nimporting the pack adds {report['seconds']:.2f} s to the host's start")
    assert said == ""


def test_the_pack_imports_without_peft_cv2_and_skimage(comfy: Path) -> None:
    _, report = import_pack(comfy, "peft", "cv2", "skimage")
    assert set(report["nodes"]) >= NODE_IDS


def test_help_pages_and_templates_are_served(server: Any, ours: dict[str, Any]) -> None:
    from urllib.request import urlopen

    for name in ours:
        with urlopen(f"{server.address}/extensions/ComfyUI-CCM/docs/{name}.md") as page:
            assert page.read().strip()
    with urlopen(f"{server.address}/workflow_templates") as answer:
        assert set(json.load(answer)["ComfyUI-CCM"]) == {p.stem for p in (ROOT / "workflows").glob("*.json")}
