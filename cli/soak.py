"""`python . soak`: the long campaigns, whose short forms are in `python . test`."""

from __future__ import annotations

from argparse import Namespace

from . import test
from .command import Command


def run(options: Namespace) -> int:
    return test.run_pytest(["-m", "soak", *options.rest])


COMMAND = Command(
    "soak", "run the long fuzz and kill campaigns", test.arguments, run, "tools", passes_on=True
)
