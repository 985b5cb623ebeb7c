"""What the registry asks of a pack (docs.comfy.org/registry/specifications), and that the files agree on it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SPECIALS = "-_."
NAMED = {"Repository", "Documentation", "Bug Tracker"}
KNOWN_CLASSIFIERS = (
    "License ::",
    "Operating System ::",
    "Environment ::",
    "Intended Audience ::",
    "Topic ::",
)
COMFY_KEYS = {"PublisherId", "DisplayName", "Icon", "Banner", "requires-comfyui", "includes"}


@pytest.fixture(scope="module")
def toml() -> dict[str, Any]:
    try:
        reader = importlib.import_module("tomllib")
    except ModuleNotFoundError:  # Python 3.10
        reader = importlib.import_module("tomli")
    return reader.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_name_is_one_that_the_registry_takes_and_likes(toml: dict[str, Any]) -> None:
    name = toml["project"]["name"]
    assert len(name) < 100 and re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", name)
    assert not re.search(rf"[{re.escape(SPECIALS)}]{{2}}", name)
    assert "comfyui" not in name.lower()


def test_the_version_has_three_numbers_and_is_the_same_everywhere(toml: dict[str, Any]) -> None:
    version = toml["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_licence_description_readme_and_urls_are_there(toml: dict[str, Any]) -> None:
    project = toml["project"]
    assert project["license"] == {"text": "GPL-3.0-or-later"} and (ROOT / "LICENSE").is_file()
    assert project["description"] and (ROOT / project["readme"]).is_file()
    assert set(project["urls"]) >= NAMED and all(
        url.startswith("https://") for url in project["urls"].values()
    )
    repository = project["urls"]["Repository"]
    assert f"repository-code: {repository}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_the_classifiers_are_of_known_kinds(toml: dict[str, Any]) -> None:
    found = toml["project"]["classifiers"]
    assert all(one.startswith(KNOWN_CLASSIFIERS) for one in found)
    assert any(one.startswith("Operating System ::") for one in found)


def test_the_dependencies_are_those_of_requirements_txt(toml: dict[str, Any]) -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert [one.replace("'", '"') for one in toml["project"]["dependencies"]] == lines


def test_the_comfy_section_holds_what_the_registry_knows(toml: dict[str, Any]) -> None:
    comfy = toml["tool"]["comfy"]
    assert set(comfy) == COMFY_KEYS
    assert re.fullmatch(r"[a-z0-9-]+", comfy["PublisherId"]) and comfy["DisplayName"]
    assert re.fullmatch(r"(>=|<=|~=|==|<|>)\d+\.\d+\.\d+", comfy["requires-comfyui"])
    tag = importlib.import_module("ccm_pack.host.locate").TAG
    assert comfy["requires-comfyui"] == f">={tag.lstrip('v')}"  # the oldest host that the tests know
    raw = toml["project"]["urls"]["Repository"].replace("//github.com/", "//raw.githubusercontent.com/")
    for key in ("Icon", "Banner"):
        assert comfy[key].startswith(f"{raw}/main/")
        assert (ROOT / comfy[key].removeprefix(f"{raw}/main/")).is_file()


def test_icon_and_banner_have_the_shape_that_the_registry_shows() -> None:
    icon, banner = (Image.open(ROOT / "docs" / "pictures" / f"{name}.png") for name in ("icon", "banner"))
    assert icon.width == icon.height <= 400
    assert banner.width * 9 == banner.height * 21


def test_nothing_that_the_nodes_need_is_left_out_of_the_archive() -> None:
    lines = (ROOT / ".comfyignore").read_text("utf-8").splitlines()
    ignored = {line.strip("/") for line in lines if line and not line.startswith("#")}
    needed = {
        "ccm",
        "nodes",
        "biomarker_nodes",
        "training",
        "weights",
        "web",
        "locales",
        "workflows",
        "cli",
        "host",
    }
    assert not ignored & needed
    assert all((ROOT / one).exists() for one in ignored)


def test_no_node_runs_pip_and_none_evaluates_text() -> None:
    """Rules of the registry; the command line's own environment is made by host/, which no node imports."""
    for folder in ("nodes", "biomarker_nodes", "ccm"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text("utf-8")
            assert not re.search(r"(?<![\w.])(eval|exec)\(", text), file
            assert not re.search(r"[\"']pip[\"']|host\.pip|subprocess", text), file


def test_workflows_and_citation_can_be_read_and_name_what_is_asked_for() -> None:
    yaml = pytest.importorskip("yaml")  # with ComfyUI
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        assert yaml.safe_load(file.read_text("utf-8"))["jobs"], file
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "title", "message", "authors", "version", "license"} <= set(citation)
    (paper,) = citation["references"]
    assert paper["type"] == "article" and len(paper["authors"]) == 7


def test_the_workflows_name_commands_that_exist() -> None:
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        for path in re.findall(r"\btests/[\w/.]+", file.read_text("utf-8")):
            assert (ROOT / path).exists(), f"{file.name}: {path}"
