"""The servers of a run: ComfyUIs that are there already, or one of our own that is started again when it dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from ..ccm.errors import HostError
from ..host import locate, server
from ..host.paths import STATE

MOST_STARTS = 5  # in a row without a frame
PORT_SECONDS = 30.0  # for a process that was killed to go


class Host(Protocol):
    """Where a server is, and how it is brought back."""

    address: str

    def revive(self) -> None:
        """Start the server again if it is ours and has died; raises HostError where that is hopeless."""
        ...

    def worked(self) -> None:
        """Hear that the server has made something."""
        ...


class RemoteHost:
    """A server that somebody else starts and stops."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") if "://" in address else f"http://{address}".rstrip("/")

    def revive(self) -> None:
        """Nothing: whoever runs it starts it again."""

    def worked(self) -> None:
        """Nothing."""


class OwnHost:
    """A ComfyUI of our own in the folder `base`, always on the same port; use it in a `with` statement."""

    def __init__(self, base: Path = STATE, port: int | None = None) -> None:
        self._comfy = locate.ready(Path(sys.executable))
        self._base = base
        self._port = port or server.free_port()
        self._starts = 0
        self._running = ExitStack()
        self._server: server.Server | None = None
        self._one = threading.Lock()
        self.address = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> OwnHost:
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """The process that leads the server's own group."""
        assert self._server is not None
        return self._server.process.pid

    def revive(self) -> None:
        """Start the server unless it runs; raises HostError if the first start, or MOST_STARTS in a row, fails."""
        with self._one:
            if self._server is not None and self._server.is_alive():
                return
            log = f"; its log: {self._server.log}" if self._server else ""
            self._end()
            if self._starts >= MOST_STARTS:
                raise HostError(
                    f"ComfyUI died {self._starts} times without making a frame{log}", fix="read the log"
                )
            self._starts += 1
            try:
                self._wait_for_port()
                self._server = self._running.enter_context(
                    server.running(self._comfy, self._base, self._port)
                )
            except HostError:
                if self._server is None or self._starts >= MOST_STARTS:
                    raise

    def _end(self) -> None:
        """End the server, and what is left of one whose guard was killed."""
        self._running.close()
        if self._server is not None and os.name != "nt":
            with suppress(ProcessLookupError):
                os.killpg(self._server.process.pid, signal.SIGKILL)

    def _wait_for_port(self) -> None:
        """Wait until a process that was killed gives back the port; raises HostError."""
        until = time.monotonic() + PORT_SECONDS
        while True:
            try:
                server.check_port(self._port)
                return
            except HostError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def worked(self) -> None:
        """Count starts anew."""
        self._starts = 0
