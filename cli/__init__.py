"""The command line: one module per command, listed here."""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
from types import FrameType

from ..ccm.errors import CCMError
from . import (
    ablate,
    adapter,
    batch,
    bench,
    check,
    dataset,
    demo,
    docs,
    evaluate,
    measure,
    soak,
    test,
    train,
    ui,
    utility,
    weights,
)
from .command import Command

COMMANDS: tuple[Command, ...] = (
    demo.COMMAND,
    ui.COMMAND,
    test.COMMAND,
    soak.COMMAND,
    check.COMMAND,
    docs.COMMAND,
    bench.COMMAND,
    measure.COMMAND,
    batch.COMMAND,
    evaluate.COMMAND,
    dataset.COMMAND,
    train.COMMAND,
    adapter.COMMAND,
    ablate.COMMAND,
    utility.COMMAND,
    weights.COMMAND,
)
PASSING_ON = {command.name for command in COMMANDS if command.passes_on}
HELP = {"-h", "--help"}


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python .", description="ComfyUI-CCM: synthetic corneal confocal microscopy."
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.help, description=command.help)
        sub.set_defaults(command=command, environment=command.environment, parser=sub)
        command.arguments(sub)
    if near := _misspelt(arguments):
        parser.error(f"there is no command {arguments[0]}; did you mean {near}?")
    own, rest = arguments, []
    if arguments and arguments[0] in PASSING_ON and not HELP & set(arguments):
        own, rest = arguments[:1], arguments[1:]
    options, unknown = parser.parse_known_args(own or ["--help"])
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.rest = rest
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _leave)
    try:
        return _run(options.command, options, arguments)
    except (CCMError, OSError) as error:
        print(f"\nError: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where it left off.", file=sys.stderr)
        return 130


def _misspelt(arguments: list[str]) -> str | None:
    """The command that an unknown one resembles."""
    names = [command.name for command in COMMANDS]
    if not arguments or arguments[0] in names:
        return None
    return next(iter(difflib.get_close_matches(arguments[0], names, 1)), None)


def _run(command: Command, options: argparse.Namespace, arguments: list[str]) -> int:
    if options.environment is None:
        return command.run(options)
    from ..host import environment

    python = environment.prepare(tools=options.environment == "tools")
    if not environment.is_current(python):
        return environment.rerun(python, arguments)
    return command.run(options)


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave through every `finally`, so that no server is left behind."""
    os.write(2, b"\nStopping.\n")
    raise SystemExit(128 + number)
