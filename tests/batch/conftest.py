"""Stand-ins for ComfyUI, gone after each test; the tests of this folder import what lies beside them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ccm_pack.host.server import free_port

sys.path.append(str(Path(__file__).parent))

from batch_helpers import STAND_IN, Server  # noqa: E402


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a stand-in: serve("--fault", "500")."""
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(free_port(), list(options)).start())
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def comfy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ComfyUI folder whose main.py is the stand-in, named by COMFYUI_PATH."""
    folder = tmp_path / "comfy"
    (folder / "comfy").mkdir(parents=True)
    start = f"runpy.run_path({str(STAND_IN)!r}, run_name='__main__')"
    (folder / "main.py").write_text(f"import runpy, sys\nsys.argv += ['--seconds', '0.1']\n{start}\n")
    monkeypatch.setenv("COMFYUI_PATH", str(folder))
    return folder
