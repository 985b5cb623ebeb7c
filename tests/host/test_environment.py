"""The pack's own interpreter: what is installed, when, and what is said when it cannot be."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ccm_pack.ccm.errors import HostError
from ccm_pack.host import environment
from ccm_pack.host.pip import pip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    made: list[list[str]] = []
    monkeypatch.setattr(environment, "pip", lambda python, arguments: made.append(arguments))
    return made


def install(venv: Path, *requirements: str, size: float = 0.0) -> None:
    environment.install(Path(sys.executable), "host", list(requirements), size=size, venv=venv)


def test_the_same_requirements_are_installed_once(tmp_path: Path, calls: list[list[str]]) -> None:
    install(tmp_path, "a", "b")
    install(tmp_path, "a", "b")
    assert len(calls) == 1
    assert "--constraint" in calls[0]


def test_changed_requirements_are_installed_again(tmp_path: Path, calls: list[list[str]]) -> None:
    install(tmp_path, "a")
    install(tmp_path, "a", "b")
    assert len(calls) == 2


def test_an_interrupted_installation_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(python: Path, arguments: list[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environment, "pip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            install(tmp_path, "a")
    made: list[list[str]] = []
    monkeypatch.setattr(environment, "pip", lambda python, arguments: made.append(arguments))
    install(tmp_path, "a")
    assert len(made) == 1


def test_too_little_disk_says_how_much_is_needed(tmp_path: Path, calls: list[list[str]]) -> None:
    with pytest.raises(HostError, match=r"GB are free .* needed\. Fix: free some space"):
        install(tmp_path, "a", size=1e9)
    assert calls == []


def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "left over").mkdir(parents=True)
    environment.create(venv)
    assert environment.interpreter(venv).is_file()
    assert not (venv / "left over").exists()
    environment.interpreter(venv).unlink()
    environment.create(venv)
    assert not environment.interpreter(venv).exists()  # a finished one is left alone


def test_torchaudio_is_left_out_of_the_hosts_requirements(tmp_path: Path) -> None:
    listed = "torch\ntorchaudio\ntorchaudio-more>=1\n\n# comment\nnumpy>=1.25 # why\n"
    (tmp_path / "requirements.txt").write_text(listed)
    found = environment.host_requirements(tmp_path)
    assert found == ["torch", "torchaudio-more>=1", "numpy>=1.25", "requests"]


def test_ccm_python_skips_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCM_PYTHON", sys.executable)
    assert environment.prepare(tools=True) == Path(os.path.abspath(sys.executable))
    monkeypatch.setenv("CCM_PYTHON", "no such python")
    with pytest.raises(HostError, match="CCM_PYTHON is no such python"):
        environment.prepare(tools=True)


def test_the_command_is_run_again_only_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CCM_INSIDE", str(tmp_path))
    assert environment.is_current(tmp_path)
    assert not environment.is_current(tmp_path)  # programs started later do not inherit the mark


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], Path]:
    """Make a program that prints a text and fails, whatever it is asked."""

    def make(text: str) -> Path:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(text)}\nexit 1\n")
        program.chmod(0o755)
        return program

    return make


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a script")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("NewConnectionError(...)\nERROR: No matching distribution", "does not answer"),
        ("ERROR: Could not find a version of x (from versions: none)", "does not answer"),
        ("ERROR: something else", "something else"),
    ],
)
def test_a_failing_pip_says_what_to_do(stand_in: Callable[[str], Path], said: str, told: str) -> None:
    with pytest.raises(HostError, match=told):
        pip(stand_in(said), ["install", "x"])
