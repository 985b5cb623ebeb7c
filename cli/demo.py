from argparse import ArgumentParser, Namespace

from .command import Command


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--frame")


def run(options: Namespace) -> int:
    return 1


COMMAND = Command(
    "demo", "generate, trace and measure synthetic frames of the three cohorts", arguments, run, "host"
)
