"""Run pip so that the user sees how far it is, and turn its failures into errors that say what to do."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from ..ccm.errors import HostError

FETCH = re.compile(r"^\s*(?:Downloading|Using cached) (\S+) \(([\d.]+) (kB|MB|GB)\)")
MEGABYTES = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}
NO_DISK = ("No space left on device", "not enough space on the disk")
NO_NETWORK = (
    "NewConnectionError",
    "ConnectTimeout",
    "NameResolutionError",
    "ProxyError",
    "from versions: none",
)


def pip(python: Path, arguments: list[str]) -> None:
    """Run `pip ARGUMENTS` with this interpreter; raises HostError when it fails."""
    command = [str(python), "-m", "pip", *arguments, "--progress-bar=off", "--disable-pip-version-check"]
    lines: list[str] = []
    meter = _Meter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        try:
            for raw in process.stdout:
                lines.append(raw.decode("utf-8", errors="replace").rstrip())
                meter.read(lines[-1])
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise _failure(lines)


class _Meter:
    """Tells how far pip is, from what it says."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.megabytes = 0.0

    def read(self, line: str) -> None:
        if found := FETCH.match(line):
            self.megabytes += float(found[2]) * MEGABYTES[found[3]]
            minutes = (time.monotonic() - self.began) / 60
            print(f"  {minutes:4.1f} min  {self.megabytes:6.0f} MB  {Path(found[1]).name}", flush=True)
        elif line.startswith("Installing collected packages"):
            print("  Everything is downloaded; unpacking (a few minutes for torch)", flush=True)


def _failure(lines: list[str]) -> HostError:
    text = "\n".join(lines)
    told = "\n".join(line for line in lines if line.startswith("ERROR"))[-1500:] or "\n".join(lines[-5:])
    version = ".".join(map(str, sys.version_info[:2]))
    if any(sign in text for sign in NO_DISK):
        return HostError("The disk is full", fix="free some space and run the same command again")
    if any(sign in text for sign in NO_NETWORK):
        return HostError(
            f"The package index does not answer, or has no package for Python {version}:\n{told}",
            fix="check the network and proxy settings of pip; Python 3.11 to 3.13 have every package needed",
        )
    return HostError(f"pip failed:\n{told}", fix="run the same command again; what was downloaded is kept")
