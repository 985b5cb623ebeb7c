"""`python . bench NAME`: run benchmarks/NAME.py."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import plugin
from .command import Command

FOLDER = "benchmarks"


def arguments(parser: ArgumentParser) -> None:
    plugin.arguments(parser, FOLDER)


def run(options: Namespace) -> int:
    return plugin.run(options, FOLDER)


COMMAND = Command("bench", "measure something and print it as JSON", arguments, run, "tools")
