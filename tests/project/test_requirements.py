"""Installing the pack into a host's Python leaves the host's packages as they are, and needs no compiler."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements.txt"
PROTECTED = {
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "safetensors",
    "transformers",
    "tokenizers",
    "huggingface-hub",
}
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
NO_REGISTRY = (
    "NewConnectionError",
    "ConnectTimeout",
    "NameResolutionError",
    "ProxyError",
    "from versions: none",
)
PIP = "import runpy, sys; sys.path[:] = [*sys.path, sys.argv.pop(1)]; runpy.run_module('pip', run_name='__main__')"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(lines: Iterable[str]) -> list[str]:
    """The packages that requirement lines name, less those of extras and of other systems."""
    stripped = (line.split("#")[0].strip() for line in lines)
    kept = (line for line in stripped if line and not line.startswith("-") and "extra ==" not in line)
    return [canonical(re.split(r"[^\w.-]", line)[0]) for line in kept]


def closure(names: Iterable[str]) -> dict[str, metadata.Distribution]:
    """What is installed of these packages and of all that they need."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [canonical(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system or Python
            continue
        waiting += names_in(found[name].requires or [])
    return found


@pytest.fixture(scope="module")
def fresh_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that shows pip the packages of ComfyUI alone, as an environment that has never seen the pack."""
    comfy = importlib.import_module("ccm_pack.host.locate").find()
    if comfy is None:
        pytest.skip("no ComfyUI: set COMFYUI_PATH, or run `python . test` once")
    host = tmp_path_factory.mktemp("host")
    asked = names_in((comfy / "requirements.txt").read_text("utf-8").splitlines())
    drivers = [name for one in metadata.distributions() if (name := one.name).startswith(("nvidia", "cuda"))]
    for one in closure([*asked, *drivers, "torch", "numpy", "pillow"]).values():
        folder: Any = one._path  # type: ignore[attr-defined]
        (host / folder.name).symlink_to(folder)
    (host / "pip").symlink_to(Path(importlib.import_module("pip").__file__).parent)
    return host


@pytest.fixture(scope="module")
def installed(fresh_host: Path) -> dict[str, str]:
    """What our requirements bring into a fresh host."""
    return would_install(fresh_host, "-r", str(REQUIREMENTS))


def would_install(host: Path, *arguments: str) -> dict[str, str]:
    """What `pip install` would do to that host: names and versions; skips where no registry answers."""
    report = host / "report.json"
    options = ["install", "--dry-run", "--only-binary=:all:", "--report", str(report), *arguments]
    command = [sys.executable, "-I", "-S", "-c", PIP, str(host), *options, "--disable-pip-version-check"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    if done.returncode and any(sign in done.stdout for sign in NO_REGISTRY):
        pytest.skip("no package registry answers")
    assert done.returncode == 0, done.stdout
    found = [entry["metadata"] for entry in json.loads(report.read_text("utf-8"))["install"]]
    return {canonical(one["name"]): one["version"] for one in found}


def test_the_requirements_change_no_package_of_the_host_and_all_have_wheels(
    installed: dict[str, str],
) -> None:
    assert {"peft", "scikit-image"} <= set(installed)  # so the host was a fresh one indeed
    assert not set(installed) & (PROTECTED | set(OPENCV))


def test_what_is_installed_has_wheels_for_the_portable_build_of_windows(
    fresh_host: Path, installed: dict[str, str]
) -> None:
    there = ["--target", str(fresh_host / "windows"), "--platform", "win_amd64", "--python-version", "3.12"]
    pinned = [f"{name}=={version}" for name, version in installed.items()]
    assert set(would_install(fresh_host, "--no-deps", *there, *pinned)) == set(installed)


def test_nothing_is_left_to_install_where_the_pack_runs() -> None:
    """By metadata alone, so without a registry: whatever our requirements need is there in a version that serves."""
    requirement = pytest.importorskip("packaging.requirements").Requirement
    names = closure(names_in(REQUIREMENTS.read_text("utf-8").splitlines()))
    assert set(names) >= {"torch", "numpy", "peft", "scikit-image", "safetensors"}
    for one in names.values():
        for line in one.requires or []:
            asked = requirement(line)
            if canonical(asked.name) in PROTECTED and (
                asked.marker is None or asked.marker.evaluate({"extra": ""})
            ):
                assert asked.specifier.contains(metadata.version(asked.name), prereleases=True), (
                    one.name,
                    line,
                )


def test_torch_and_opencv_are_no_requirements() -> None:
    assert not set(names_in(REQUIREMENTS.read_text("utf-8").splitlines())) & {"torch", "torchvision", *OPENCV}


def test_requirements_have_no_upper_bound() -> None:
    assert not re.search(r"[<~=!]=|<(?!=)", re.sub(r";.*", "", REQUIREMENTS.read_text("utf-8")))


@pytest.mark.parametrize("present", [True, False])
def test_opencv_is_installed_only_where_there_is_none(present: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("install", ROOT / "install.py")
    assert spec is not None and spec.loader is not None
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    ran: list[list[str]] = []
    monkeypatch.setattr(install.subprocess, "call", lambda command: ran.append(command) or 0)
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: object() if present else None)
    assert install.main() == 0
    assert [command[-1] for command in ran] == ([] if present else [install.OPENCV])
