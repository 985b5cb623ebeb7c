"""What a training prints as it goes: the pack's own log, and of the host and its libraries only warnings."""

from __future__ import annotations

import logging

from .plugin import PACKAGE


def show(layout: str = "%(message)s") -> None:
    """Let the pack's loggers be heard from INFO on, all others from WARNING on."""
    logging.basicConfig(level=logging.WARNING, format=layout)
    logging.getLogger(PACKAGE).setLevel(logging.INFO)
