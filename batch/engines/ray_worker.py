"""What a Ray worker does: it keeps one ComfyUI running and makes items on it, with the scheduler of any other run."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ...ccm.errors import CCMError, HostError
from ...host.paths import STATE
from ..hosts import OwnHost
from ..making import HELPERS, Outcome
from ..run import prepare
from ..scheduler import ItemPool, Scheduler, check_servers


class Worker:
    """A ComfyUI of this worker's own, in a folder of its number. Arguments and answers are pickled."""

    def __init__(self, plan: bytes, number: int) -> None:
        self._maker = prepare(pickle.loads(plan))
        self._made: dict[str, Outcome] = {}
        self._helpers = ThreadPoolExecutor(HELPERS)
        self._scheduler = Scheduler(self._maker, self._keep, self._helpers)
        self._name = f"worker-{number}"
        self._host = OwnHost(STATE / "ray" / self._name).__enter__()

    async def check(self, item: bytes) -> bytes:
        """What this worker's server is, or the CCMError that it lacks something."""
        try:
            told = await check_servers(self._maker, pickle.loads(item), [self._host])
            return pickle.dumps({self._name: next(iter(told.values()))})
        except CCMError as error:
            return pickle.dumps(error)

    async def make(self, item: bytes) -> bytes:
        """The outcome of an item, or a CCMError that ends the run. Without a server this process ends, and Ray
        starts the worker again."""
        wanted = pickle.loads(item)
        try:
            await self._scheduler.run([self._host], ItemPool(iter([wanted])))
        except HostError:
            os._exit(1)
        except CCMError as error:
            return pickle.dumps(error)
        return pickle.dumps(self._made.pop(wanted.id))

    def stop(self) -> None:
        """End the server."""
        self._host.__exit__()

    def _keep(self, outcome: Outcome) -> None:
        self._made[outcome.item.id] = replace(outcome, told={**outcome.told, "server": self._name})
