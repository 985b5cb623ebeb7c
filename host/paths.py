"""Where things lie: the pack, its own interpreter, and everything a provisioned ComfyUI writes."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parents[1]
VENV = ROOT / ".venv"
STATE = ROOT / ".comfyui"
OUTPUT = ROOT / "output"
CONSTRAINTS = ROOT / "host" / "constraints.txt"
REQUIREMENTS = ROOT / "requirements.txt"
TOOLS = ROOT / "host" / "tools.txt"
