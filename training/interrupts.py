"""Ctrl-C and SIGTERM while a run goes on: the first asks it to stop after the present step, the second ends it."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context in which the first signal sets `requested`; a second one has the system's own effect, at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._request) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        os.write(2, b"\nStopping after this step, with a checkpoint. Press Ctrl-C again to end at once.\n")
