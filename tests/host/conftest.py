"""One real ComfyUI for all host tests, with the pack in it and a base folder of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def module(name: str) -> ModuleType:
    return importlib.import_module(f"ccm_pack.{name}")


@pytest.fixture(scope="session")
def comfy() -> Path:
    """The folder of the ComfyUI under test."""
    return module("host.locate").ready(Path(sys.executable))


@pytest.fixture(scope="session")
def server(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running ComfyUI; its log is shown where a test that uses it fails."""
    with module("host.server").running(comfy, base=tmp_path_factory.mktemp("comfy")) as running:
        yield running


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    """A client of the running ComfyUI; afterwards the server must still be alive."""
    with module("batch.client").Client(server.address) as connected:
        yield connected
    assert server.is_alive(), module("host.server").tail(server.log)
