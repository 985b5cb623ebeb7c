"""Numbers that an option takes: argparse reports those out of range with the usage of the command."""

from __future__ import annotations

from argparse import ArgumentTypeError

SEEDS = 2**64  # as many as ComfyUI and numpy take
PORTS = 2**16


def seed(text: str) -> int:
    """Return a seed; raises ArgumentTypeError."""
    return _within(text, 0, SEEDS - 1)


def port(text: str) -> int:
    """Return a TCP port; raises ArgumentTypeError."""
    return _within(text, 1, PORTS - 1)


def gigabytes(text: str) -> float:
    """Return the memory of a GPU; raises ArgumentTypeError."""
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if 0 < size < 1e6:
        return size
    raise ArgumentTypeError(f"{text} is no memory of a GPU in GB, such as 24")


def _within(text: str, low: int, high: int) -> int:
    if text.isdecimal() and low <= int(text) <= high:
        return int(text)
    raise ArgumentTypeError(f"{text} is not a whole number from {low} to {high}")
