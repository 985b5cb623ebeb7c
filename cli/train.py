"""`python . train NAME`: run training/NAME.py."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import plugin
from .command import Command

FOLDER = "training"


def arguments(parser: ArgumentParser) -> None:
    plugin.arguments(parser, FOLDER)


def run(options: Namespace) -> int:
    return plugin.run(options, FOLDER)


COMMAND = Command("train", "train one of the embedded networks", arguments, run, "host")
