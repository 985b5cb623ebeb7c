"""What one command of the command line consists of."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Command:
    """A command: its options, what it does, and whether it runs inside the pack's own `.venv`.

    `environment` is None for a command that needs the standard library only, "host" for one that needs what
    ComfyUI and the pack need, and "tools" for one that needs the test tools too. A sub-command with other
    needs says so by `set_defaults(environment=...)`.
    """

    name: str
    help: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    environment: Literal["host", "tools"] | None
    passes_on: bool = False  # what follows the name is not ours, and lies in `options.rest`
