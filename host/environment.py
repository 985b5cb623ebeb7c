"""The interpreter of the pack: its own `.venv`, with pinned packages, or the one that CCM_PYTHON names."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ..ccm.errors import HostError
from . import locate
from .paths import CONSTRAINTS, REQUIREMENTS, ROOT, TOOLS, VENV
from .pip import pip

INSIDE = "CCM_INSIDE"  # set for the command that runs again inside the interpreter
LEFT_OUT = {"torchaudio"}  # ComfyUI starts without it; only audio nodes would need it
ADDED = ["requests"]  # imported by ComfyUI, missing from its list
OPENCV = "opencv-python-headless"  # not in our own list, see install.py
MODULES = ("torch", "numpy", "scipy", "cv2", "skimage", "peft", "safetensors", "PIL", "aiohttp", "tqdm")
TOOL_MODULES = ("pytest", "hypothesis")
PROBE = (
    "import importlib.util, json, sys;"
    "print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]))"
)
PROBE_SECONDS = 60


def prepare(*, tools: bool) -> Path:
    """Return an interpreter that has what ComfyUI and the pack need, and with `tools` the test tools too.

    Nothing is done a second time: a stamp holds the hash of everything that was asked for.
    """
    if named := os.environ.get("CCM_PYTHON"):
        return _named(named, MODULES + TOOL_MODULES * tools)
    create()
    python = interpreter(VENV)
    comfy = locate.ready(python)
    install(python, "host", [*host_requirements(comfy), OPENCV, *_lines(REQUIREMENTS)], size=host_size())
    if tools:
        install(python, "tools", _lines(TOOLS), size=0.3)
    return python


def is_current(python: Path) -> bool:
    """Return whether this very process was started by `rerun` with that interpreter."""
    return os.environ.pop(INSIDE, None) == str(python)


def rerun(python: Path, arguments: list[str]) -> int:
    """Run the same command inside the interpreter. On POSIX this call does not return."""
    command = [str(python), str(ROOT), *arguments]
    environ = {**os.environ, INSIDE: str(python)}
    sys.stdout.flush()
    if os.name == "nt":
        return subprocess.call(command, env=environ)
    os.execve(command[0], command, environ)


def interpreter(venv: Path) -> Path:
    """Return the path of the Python of a virtual environment."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def create(venv: Path = VENV) -> None:
    """Make the virtual environment unless there is one with a working pip."""
    done = venv / "ccm-created.stamp"
    if done.is_file():
        return
    print(f"Making a Python environment in {venv}", flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True)
    if made.returncode:
        raise HostError(
            f"Python could not make a virtual environment: {(made.stdout + made.stderr).strip()[-500:]}",
            fix="install the venv module, on Debian and Ubuntu with `apt install python3-venv`",
        )
    done.touch()


def install(python: Path, name: str, requirements: list[str], *, size: float, venv: Path = VENV) -> None:
    """Install the requirements, pinned by host/constraints.txt, unless exactly they are installed already.

    `size` is what they take in GB, downloads included. Raises HostError without network or disk space.
    """
    stamp = venv / f"ccm-{name}.stamp"
    wanted = _digest([*requirements, CONSTRAINTS.read_text("utf-8"), platform.python_version()])
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    check_disk(venv, size)
    print(
        f"Installing {len(requirements)} packages and what they need (about {size:g} GB with the downloads;\n"
        "  once; stop it whenever you like, it goes on where it was)",
        flush=True,
    )
    listed = venv / f"ccm-{name}.txt"
    listed.write_text("\n".join(requirements) + "\n", "utf-8")
    pip(python, ["install", "--constraint", str(CONSTRAINTS), "--requirement", str(listed)])
    stamp.write_text(wanted, "utf-8")


def host_requirements(comfy: Path) -> list[str]:
    """Return what this ComfyUI asks for, one requirement a line, less what it can do without."""
    lines = _lines(comfy / "requirements.txt")
    kept = [line for line in lines if re.split(r"[^\w.-]", line.lower())[0] not in LEFT_OUT]
    return [*kept, *ADDED]


def host_size() -> float:
    """Return in GB what the host's packages and their downloads take; on Linux torch brings CUDA."""
    return 10.0 if (platform.system(), platform.machine()) == ("Linux", "x86_64") else 3.0


def check_disk(folder: Path, size: float) -> None:
    """Raise HostError unless `size` GB are free, counting what the folder holds already."""
    free = shutil.disk_usage(folder).free / 1e9
    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9
    if free + held < size:
        raise HostError(
            f"{free:.1f} GB are free where {folder} lies, {size - held:.1f} GB are needed",
            fix="free some space, or set CCM_PYTHON to a Python that has ComfyUI's packages",
        )


def _named(path: str, modules: tuple[str, ...]) -> Path:
    """Return the interpreter that CCM_PYTHON names; raises HostError where it lacks one of the modules."""
    found = shutil.which(path)
    if found is None:
        raise HostError(f"CCM_PYTHON is {path}, which is no program", fix="name a Python or unset it")
    python = Path(os.path.abspath(found))
    if os.environ.get(INSIDE) != str(python) and (lacking := _lacking(python, modules)):
        raise HostError(
            f"CCM_PYTHON is {path}, which lacks {', '.join(lacking)}",
            fix="install ComfyUI's requirements.txt and the pack's there, run install.py with it, or unset CCM_PYTHON",
        )
    return python


def _lacking(python: Path, modules: tuple[str, ...]) -> list[str]:
    """Return which of the modules an interpreter cannot import; raises HostError where it is no Python."""
    pipes = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": PROBE_SECONDS}
    try:
        return json.loads(subprocess.run([str(python), "-c", PROBE, *modules], **pipes).stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise HostError(f"CCM_PYTHON is {python}, which is no Python", fix="name one or unset it") from error


def _lines(file: Path) -> list[str]:
    stripped = (line.split("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return [line for line in stripped if line]


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8")).hexdigest()
