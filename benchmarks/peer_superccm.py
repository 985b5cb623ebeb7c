"""The tracings of superccm (Qiao et al. 2025), so that our segmentation is not the only judge of our frames.

It is installed from PyPI into an environment of its own and run there as a program; its desktop application
and its viewer are left out.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..ccm.errors import HostError
from ..host import environment
from ..host.paths import ROOT
from ..host.pip import pip

VENV = ROOT / ".venv-peers" / "superccm"
WORKER = Path(__file__).with_name("peer_superccm_worker.py")
SUPERCCM = "superccm==1.1.1"
IMPORTED = (  # its own pins have no wheels for Python 3.12 and newer
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


def prepare() -> Path:
    """Return an interpreter that has superccm; raises HostError where it cannot be installed."""
    environment.create(VENV)
    python = environment.interpreter(VENV)
    stamp = VENV / "superccm.stamp"
    wanted = "\n".join([SUPERCCM, *IMPORTED])
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        environment.check_disk(VENV, INSTALLED_GB)
        print(f"Installing {SUPERCCM} (about {INSTALLED_GB:g} GB, once)", flush=True)
        pip(python, ["install", *IMPORTED])
        pip(python, ["install", "--no-deps", SUPERCCM])
        stamp.write_text(wanted, "utf-8")
    return python


def trace(python: Path, frames: list[Path]) -> Tracings:
    """Trace PNG frames; raises HostError where superccm does not even start."""
    command = [str(python), str(WORKER), *map(str, frames)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise HostError(
            f"superccm does not run: {done.stderr.strip()[-500:]}",
            fix=f"delete {VENV} and run the same command again, or leave it out with --no-superccm",
        )
    failures = {Path(name): told for name, told in json.loads(done.stdout.splitlines()[-1]).items()}
    return Tracings({frame: _read(frame) for frame in frames if frame not in failures}, failures)


def _read(frame: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(frame.with_suffix(".superccm.png"))) > 0
