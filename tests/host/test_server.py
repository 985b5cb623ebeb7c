"""Starting and stopping, with small programs in place of ComfyUI."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ccm_pack.ccm.errors import HostError
from ccm_pack.host import server

ANSWERING = """
import http.server, subprocess, sys, os
port = int(sys.argv[sys.argv.index("--port") + 1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(os.path.join(os.path.dirname(__file__), "child"), "w").write(str(child.pid))
{extra}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
STARTER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import conftest
from ccm_pack.host import server
server.has_gpu = lambda: False
with server.running(Path({comfy!r}), Path({base!r})) as running:
    print(running.process.pid, flush=True)
    time.sleep(600)
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "has_gpu", lambda: False)


def make_comfy(folder: Path, main: str) -> Path:
    (folder / "models" / "loras").mkdir(parents=True)
    (folder / "main.py").write_text(main)
    return folder


def runs(pid: int) -> bool:
    """Return whether a process still runs; one that is dead but not yet reaped does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def wait_until_gone(pid: int) -> bool:
    for _ in range(100):
        if not runs(pid):
            return True
        time.sleep(0.1)
    return False


def test_a_server_that_ends_early_shows_the_end_of_its_log(tmp_path: Path) -> None:
    comfy = make_comfy(tmp_path / "comfy", "import sys; print('bad luck'); sys.exit(3)")
    with pytest.raises(HostError, match=r"(?s)status 3.*bad luck"), server.running(comfy, tmp_path / "base"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="uses ps and POSIX signals")
@pytest.mark.parametrize("extra", ["", DEAF], ids=["polite", "deaf to SIGTERM"])
def test_the_server_and_its_children_are_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    monkeypatch.setattr(server, "GRACE_SECONDS", 1.0)
    comfy = make_comfy(tmp_path / "comfy", ANSWERING.format(extra=extra))
    with pytest.raises(ZeroDivisionError), server.running(comfy, tmp_path / "base") as running:
        assert running.is_alive()
        child = int((comfy / "child").read_text())
        assert runs(child)
        raise ZeroDivisionError
    assert not running.is_alive()
    assert wait_until_gone(child)


@pytest.mark.skipif(os.name == "nt", reason="uses ps and POSIX signals")
def test_the_server_is_gone_when_its_starter_was_killed(tmp_path: Path) -> None:
    comfy = make_comfy(tmp_path / "comfy", ANSWERING.format(extra=""))
    code = STARTER.format(tests=str(Path(__file__).parents[1]), comfy=str(comfy), base=str(tmp_path / "base"))
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    guard = int(starter.stdout.readline())
    child = int((comfy / "child").read_text())
    assert runs(guard) and runs(child)
    starter.kill()
    starter.wait()
    assert wait_until_gone(guard) and wait_until_gone(child)


def test_the_users_comfyui_is_not_written_to_and_its_models_are_shown(tmp_path: Path) -> None:
    comfy = make_comfy(tmp_path / "comfy", "")
    before = sorted(comfy.rglob("*"))
    server.prepare_base(comfy, tmp_path / "base")
    assert sorted(comfy.rglob("*")) == before
    assert '"loras": "loras"' in (tmp_path / "base" / "model_paths.yaml").read_text()
    assert (tmp_path / "base" / "custom_nodes" / server.LINK / "pyproject.toml").is_file()


def test_a_link_to_another_place_is_turned_to_the_pack(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        server.link_pack(tmp_path / "link", tmp_path / name)
    assert (tmp_path / "link").samefile(tmp_path / "new")
    assert (tmp_path / "old").is_dir()


def test_a_taken_port_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(HostError, match=rf"Port {port} .*--port"):
            server.check_port(port)
    assert server.check_port(port) == port


def test_the_server_listens_on_loopback_only_and_on_the_cpu_without_a_gpu(tmp_path: Path) -> None:
    command = server.start_command(tmp_path / "comfy", tmp_path / "base", tmp_path / "temp", 4711)
    assert command[0] == sys.executable
    assert command[command.index("--listen") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "4711"
    assert "--cpu" in command
