"""CCM_PYTHON: an interpreter is asked what it has before a command runs in it."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path

import pytest
from ccm_pack.ccm.errors import HostError
from ccm_pack.host import environment


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    venv.create(tmp_path / "venv", symlinks=True)
    return environment.interpreter(tmp_path / "venv")


def test_a_python_with_everything_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCM_PYTHON", sys.executable)
    assert environment.prepare(tools=True) == Path(sys.executable)


def test_a_python_without_the_packages_is_told_which(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCM_PYTHON", str(bare))
    with pytest.raises(HostError, match=r"lacks torch, numpy, .*tqdm\. Fix: install ComfyUI's requirements"):
        environment.prepare(tools=False)
    with pytest.raises(HostError, match="tqdm, pytest"):
        environment.prepare(tools=True)


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
@pytest.mark.parametrize("answer", ["", "a list of files", "[", None])
def test_a_program_that_is_no_python_is_refused(
    answer: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text("no program" if answer is None else f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("CCM_PYTHON", str(program))
    with pytest.raises(HostError, match=r"program, which is no Python\. Fix: name one or unset it"):
        environment.prepare(tools=False)


def test_a_command_that_runs_inside_already_does_not_ask_again(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCM_PYTHON", str(bare))
    monkeypatch.setenv(environment.INSIDE, str(bare))
    assert environment.prepare(tools=False) == bare
