"""The engine of one machine: servers that are there already, or one ComfyUI of our own."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from ...ccm.errors import HostError
from ..hosts import Host, OwnHost, RemoteHost
from ..items import Item
from ..making import HELPERS, Maker, Outcome
from ..scheduler import ItemPool, Scheduler, check_servers


class Local:
    """Servers at these addresses, or one of our own without any; use it in a `with` statement."""

    def __init__(self, maker: Maker, addresses: list[str]) -> None:
        self._maker = maker
        self.stack = ExitStack()
        self._helpers = ThreadPoolExecutor(HELPERS)
        self.hosts: list[Host] = [RemoteHost(address) for address in addresses]
        known = [host.address for host in self.hosts]
        if len(set(known)) < len(known):
            raise HostError(f"A server is named twice among {', '.join(known)}", fix="name every server once")

    def __enter__(self) -> Local:
        self.stack.enter_context(self._helpers)
        if not self.hosts:
            print("Starting ComfyUI ...", flush=True)
            self.hosts = [self.stack.enter_context(OwnHost())]
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def check(self, item: Item) -> dict[str, dict[str, Any]]:
        """Check the graph of an item on every server; return what each is, by its address. Raises CCMError."""
        return asyncio.run(check_servers(self._maker, item, self.hosts))

    def make(self, waiting: Iterator[Item], record: Callable[[Outcome], None]) -> bool:
        """Make what waits and record every outcome; return whether Ctrl-C stopped it. Raises CCMError."""
        return asyncio.run(self._make(waiting, record))

    async def _make(self, waiting: Iterator[Item], record: Callable[[Outcome], None]) -> bool:
        pool = ItemPool(waiting)
        scheduler = Scheduler(self._maker, record, self._helpers)
        work = asyncio.create_task(scheduler.run(self.hosts, pool))
        presses = _count_interrupts(pool, work)
        try:
            await work
        except asyncio.CancelledError:
            if not presses:
                raise
        return bool(presses)


def _count_interrupts(pool: ItemPool, work: asyncio.Task[None]) -> list[int]:
    """From now on, let the first Ctrl-C hand out no more items, and the second end the work; return the presses."""
    presses: list[int] = []

    def press() -> None:
        presses.append(1)
        pool.stop()
        if len(presses) == 1:
            print("\nFinishing what runs; Ctrl-C again to leave at once.", file=sys.stderr, flush=True)
        else:
            work.cancel()

    if sys.platform != "win32":  # which knows no such handlers: there Ctrl-C leaves at once
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, press)
    return presses
