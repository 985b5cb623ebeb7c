"""`python . bench NAME`: run benchmarks/NAME.py."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import plugin
from .command import Command

FOLDER = "benchmarks"


def arguments(parser: ArgumentParser) -> None:
    plugin.arguments(parser, FOLDER)
    parser.epilog = "Each file of benchmarks/ says at its top what it measures and how."


def run(options: Namespace) -> int:
    return plugin.run(options, FOLDER)


COMMAND = Command("bench", "measure something and print it as JSON", arguments, run, "tools")
