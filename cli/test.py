"""`python . test`: every test except the long campaigns; more arguments go to pytest."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from ..host.paths import ROOT
from .command import Command


def arguments(parser: ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [-h] [pytest's options and paths]"
    parser.epilog = f"For example `{parser.prog} tests/ccm -x`. `pytest --help` lists the options."


def run(options: Namespace) -> int:
    return run_pytest(["-m", "not soak", *(options.rest or side_by_side())])


def side_by_side() -> list[str]:
    """Spread the files over a few processes, each with a ComfyUI of its own (some 3 GB of memory)."""
    return ["--numprocesses", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile"]


def run_pytest(options: list[str]) -> int:
    """Run pytest in this process: `python -m pytest` would put our `nodes` before the host's."""
    import pytest

    os.chdir(ROOT)
    return int(pytest.main(options))


COMMAND = Command("test", "run the tests, a real ComfyUI included", arguments, run, "tools", passes_on=True)
