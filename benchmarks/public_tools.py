"""The two public CCM tools from PyPI, superccm (Qiao et al. 2025) and aiccm (Qiao et al. 2024), as other judges.

Both are installed into an environment of their own and run there as a program; superccm's desktop application
and the viewers of both are left out.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..ccm.errors import HostError
from ..host import environment
from ..host.paths import ROOT
from ..host.pip import pip

NAMES = ("superccm", "aiccm")
VENV = ROOT / ".venv-peers" / "ccm"
WORKER = Path(__file__).with_name("public_tools_worker.py")
TOOLS = ("superccm==1.1.1", "aiccm==1.1.0")
IMPORTED = (  # superccm's own pins have no wheels for Python 3.12 and newer
    "matplotlib==3.10.3",
    "networkx==3.4.2",
    "numpy==2.2.6",
    "onnxruntime==1.22.1",
    "opencv-python-headless==4.12.0.88",
    "pillow==11.3.0",
    "scikit-image==0.25.2",
    "scikit-learn==1.7.0",
)
INSTALLED_GB = 0.9


@dataclass(frozen=True)
class Tracings:
    """Skeletons, bool [H,W], by frame, and what went wrong with the frames that have none."""

    skeletons: dict[Path, np.ndarray]
    failures: dict[Path, str]


@dataclass(frozen=True)
class Measurement:
    """A tool's numbers of one frame (mm/mm^2, 1/mm^2, 1/mm^2), and the CPU time that they took."""

    cnfl: float
    cnfd: float
    cnbd: float
    segmentation_ms: float
    post_ms: float


@dataclass(frozen=True)
class Measurements:
    """What a tool measured, by frame, and what went wrong with the other frames."""

    values: dict[Path, Measurement]
    failures: dict[Path, str]


def prepare() -> Path:
    """Return an interpreter that has both tools; raises HostError where they cannot be installed."""
    environment.create(VENV)
    python = environment.interpreter(VENV)
    stamp = VENV / "tools.stamp"
    wanted = "\n".join([*TOOLS, *IMPORTED])
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        environment.check_disk(VENV, INSTALLED_GB)
        print(f"Installing {' and '.join(TOOLS)} (about {INSTALLED_GB:g} GB, once)", flush=True)
        pip(python, ["install", *IMPORTED])
        pip(python, ["install", "--no-deps", *TOOLS])
        stamp.write_text(wanted, "utf-8")
    return python


def trace(python: Path, tool: str, frames: Sequence[Path]) -> Tracings:
    """Trace PNG frames of HRT3 pixel size; raises HostError where the tool does not even start."""
    told = _run(python, tool, "trace", [(frame, None) for frame in frames])
    failures = {frame: record["error"] for frame, record in told.items() if "error" in record}
    return Tracings({frame: _read(frame, tool) for frame in frames if frame not in failures}, failures)


def measure(python: Path, tool: str, frames: Mapping[Path, float]) -> Measurements:
    """Measure PNG frames of these pixel sizes in um; raises HostError where the tool does not even start."""
    told = _run(python, tool, "measure", list(frames.items()))
    failures = {frame: record["error"] for frame, record in told.items() if "error" in record}
    values = {frame: Measurement(**record) for frame, record in told.items() if frame not in failures}
    return Measurements(values, failures)


def _run(python: Path, tool: str, task: str, frames: Sequence[tuple[Path, float | None]]) -> dict[Path, dict]:
    wanted = json.dumps([(str(frame), um_per_px) for frame, um_per_px in frames])
    command = [str(python), str(WORKER), tool, task]
    done = subprocess.run(command, input=wanted, capture_output=True, text=True)
    if done.returncode:
        raise HostError(
            f"{tool} does not run: {done.stderr.strip()[-500:]}",
            fix=f"delete {VENV} and run the same command again, or leave the public tools out",
        )
    return {Path(name): record for name, record in json.loads(done.stdout.splitlines()[-1]).items()}


def _read(frame: Path, tool: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(frame.with_suffix(f".{tool}.png"))) > 0
