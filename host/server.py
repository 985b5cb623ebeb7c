"""Start a ComfyUI with the pack in it, wait until it answers, and stop it whatever happens.

Everything the server writes lies in one base folder: link to the pack, input, output, user, temp, logs. The
user's own ComfyUI is never written to; its models are shown to the server by a generated paths file.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..ccm.errors import HostError
from .paths import ROOT, STATE

LINK = "ComfyUI-CCM"  # the pack's name inside the host, whatever its folder is called
READY_SECONDS = 300
GRACE_SECONDS = 10.0
GUARD = Path(__file__).with_name("guard.py")
TAIL_LINES = 30


@dataclass(frozen=True)
class Server:
    """A running ComfyUI."""

    address: str  # http://127.0.0.1:port
    base: Path  # what it writes lies here
    log: Path
    process: subprocess.Popen[bytes]

    def is_alive(self) -> bool:
        """Return whether the process still runs."""
        return self.process.poll() is None


@contextmanager
def running(comfy: Path, base: Path = STATE, port: int | None = None) -> Iterator[Server]:
    """Run the ComfyUI in the folder `comfy` on 127.0.0.1 while the block lasts.

    The interpreter is the one that runs this, the port a free one unless given. Raises HostError when the
    port is taken or the server does not come up; the error ends with the last lines of its log.
    """
    port = free_port() if port is None else check_port(port)
    prepare_base(comfy, base)
    log = base / "logs" / f"server-{port}.log"
    temp = base / f"temp-{port}"
    command = start_command(comfy, base, temp, port)
    with open(log, "wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-I", str(GUARD), str(GRACE_SECONDS), *command],
            cwd=comfy,
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own: Ctrl-C is for us only
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
    server = Server(f"http://127.0.0.1:{port}", base, log, process)
    try:
        wait_ready(server)
        yield server
    finally:
        stop(process)
        shutil.rmtree(temp, ignore_errors=True)


def start_command(comfy: Path, base: Path, temp: Path, port: int) -> list[str]:
    """Return the command line that starts the server."""
    command = [sys.executable, "-u", str(comfy / "main.py"), "--listen", "127.0.0.1", "--port", str(port)]
    command += ["--base-directory", str(base), "--temp-directory", str(temp)]
    command += ["--extra-model-paths-config", str(base / "model_paths.yaml")]
    command += ["--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"]
    return command if has_gpu() else [*command, "--cpu"]


def has_gpu() -> bool:
    """Ask this interpreter's torch whether it sees a GPU, in a process of its own."""
    question = "import torch; print(torch.cuda.is_available() or torch.backends.mps.is_available())"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True)
    return answer.stdout.strip().endswith("True")


def prepare_base(comfy: Path, base: Path) -> None:
    """Make the folders of the server, the link to the pack, and the file that shows it the user's models.

    The paths file is JSON, which is YAML too.
    """
    for name in ("custom_nodes", "input", "output", "user", "models/loras", "models/controlnet", "logs"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link_pack(base / "custom_nodes" / LINK)
    models = comfy / "models"
    found = sorted(folder.name for folder in models.iterdir() if folder.is_dir()) if models.is_dir() else []
    paths = {"user": {"base_path": str(models), **{name: name for name in found}}} if found else {}
    (base / "model_paths.yaml").write_text(json.dumps(paths, indent=1), "utf-8")


def link_pack(link: Path, root: Path = ROOT) -> None:
    """Make `link` lead to the pack: a symbolic link, on Windows a junction, which needs no rights."""
    if link.exists() and link.samefile(root):
        return
    if link.is_symlink() or link.exists():
        link.unlink()
    try:
        if sys.platform == "win32":
            import _winapi

            _winapi.CreateJunction(str(root), str(link))
        else:
            link.symlink_to(root, target_is_directory=True)
    except OSError as error:
        raise HostError(
            f"No link to the pack can be made at {link} ({error.strerror})",
            fix="put the pack on a disk that knows links, for example NTFS, APFS or ext4",
        ) from error


def free_port() -> int:
    """Return a port on 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_port(port: int) -> int:
    """Return the port; raises HostError when another program listens there."""
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise HostError(
                f"Port {port} on 127.0.0.1 cannot be used ({error.strerror})",
                fix="stop the program that uses it, or choose another one with --port",
            ) from error
    return port


def wait_ready(server: Server, seconds: float = READY_SECONDS) -> None:
    """Wait until the server answers; raises HostError with the tail of its log when it does not."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.is_alive():
        try:
            with opener.open(f"{server.address}/system_stats", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    problem = "did not answer in time" if server.is_alive() else f"ended with status {server.process.poll()}"
    raise HostError(
        f"ComfyUI {problem}. The end of {server.log}:\n{tail(server.log)}\n",
        fix="read the last lines above; deleting .venv and .comfyui makes everything anew",
    )


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-lines:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and everything it started: politely, and after GRACE_SECONDS by force. See guard.py."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
