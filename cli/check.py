"""`python . check`: lint, format and types, each to its end, so that all complaints come at once."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..host import locate
from ..host.paths import ROOT
from .command import Command


def arguments(parser: ArgumentParser) -> None:
    parser.epilog = "It changes nothing."


def run(options: Namespace) -> int:
    comfy = locate.ready(Path(sys.executable))
    environ = {**os.environ, "PYTHONPATH": str(comfy)}
    commands = [["ruff", "check"], ["ruff", "format", "--check"], ["pyright", "--pythonpath", sys.executable]]
    failures = 0
    for command in commands:
        print(" ".join(command[:2]), flush=True)
        failures += subprocess.call([sys.executable, "-m", *command], cwd=ROOT, env=environ) != 0
    return min(failures, 1)


COMMAND = Command("check", "lint, check the format and the types", arguments, run, "tools")
