"""Items onto servers: each takes the next item when it has room, so that a server twice as fast gets twice as many.

A server that faults is asked again with growing pauses; what it had goes back to all. It is given up after the
plan's patience. An item that fails by itself is tried a few times and then set aside.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from typing import Any

from ..ccm.errors import CCMError, GraphError, HostError
from .client import Graph
from .hosts import Host
from .items import Item
from .making import Maker, Outcome, failed, make
from .preflight import check_graph
from .server import Connection, ItemFault, ServerFault, UselessResult, connect

logger = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
MOST_ROUNDS = 8  # of trouble with a server that answers, and makes no frame
MANY_BOUNCES, MOST_BOUNCES = (
    2,
    20,
)  # of an item between servers in trouble: then others come first, it is set aside
MOST_LETTERS = 200  # of the name of a file
MOST_ASIDE = 5  # items set aside in a row: then something else is wrong


class ItemPool:
    """The items that wait; None from take() says that all are over, or that no more are handed out."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._fresh = items
        self._soon: deque[Item] = deque()
        self._late: deque[Item] = deque()
        self._out = 0
        self._stopped = False
        self._changed = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left that somebody could take, now or later."""
        if not self._stopped and not self._out and (item := self._next()) is not None:
            self._soon.appendleft(item)
            return False
        return self._stopped or not self._out

    async def take(self) -> Item | None:
        """Return the next item, waiting while others have items that may come back."""
        while not self._stopped:
            item = self._next()
            if item is not None:
                self._out += 1
                return item
            if not self._out:
                break
            self._changed.clear()
            await self._changed.wait()
        self._changed.set()
        return None

    def give_back(self, item: Item, *, late: bool = False) -> None:
        """Let another server have an item, before all others or, if servers keep failing over it, after them."""
        (self._late if late else self._soon).append(item)
        self.settle()

    def settle(self) -> None:
        """Count one item less in work."""
        self._out -= 1
        self._changed.set()

    def stop(self) -> None:
        """Hand out no more items."""
        self._stopped = True
        self._changed.set()

    def _next(self) -> Item | None:
        if self._soon:
            return self._soon.popleft()
        return next(self._fresh, None) or (self._late.popleft() if self._late else None)


class Station:
    """One server at work: is it well, and since when not."""

    def __init__(self, host: Host, connection: Connection, patience_s: float) -> None:
        self.host = host
        self.connection = connection
        self.lost: CCMError | None = None  # why it was given up
        self._patience_s = patience_s
        self._rounds = 0  # of trouble, in a row, without a frame
        self._since = 0.0  # when this round of trouble began
        self._problem: ServerFault | None = None
        self._mending = asyncio.Lock()

    def report(self, fault: ServerFault) -> None:
        """Note a fault; the next who asks whether the server is ready waits until it answers again."""
        if self._problem is None:
            self._rounds += 1
            self._since = time.monotonic()
            logger.warning("%s", fault.problem)
        self._problem = fault

    def worked(self) -> None:
        """Note that a frame came."""
        self._rounds = 0
        self.host.worked()

    async def ready(self) -> bool:
        """Wait until the server answers; False once it is given up."""
        async with self._mending:
            pause = FIRST_PAUSE * 2**self._rounds
            while self._problem is not None and self.lost is None:
                await asyncio.sleep(min(pause, LONGEST_PAUSE, self._patience_s / 4))
                pause *= 2
                await self._try_again(self._problem)
            return self.lost is None

    async def _try_again(self, problem: ServerFault) -> None:
        gone = time.monotonic() - self._since
        try:
            await asyncio.to_thread(self.host.revive)
            await self.connection.stats()
        except ServerFault as fault:
            self._problem = fault
            if gone > self._patience_s:
                self._give_up(f"after {gone:.0f} s without an answer", fault)
        except CCMError as error:
            self.lost = error
        else:
            if self._rounds >= MOST_ROUNDS:
                self._give_up(f"after {self._rounds} rounds of trouble", problem)
            self._problem = None

    def _give_up(self, when: str, problem: ServerFault) -> None:
        self.lost = HostError(
            f"{self.connection.address} was given up {when}: {problem.problem}", fix=problem.fix
        )
        logger.warning("%s", self.lost.problem)


class Scheduler:
    """Makes items on servers and hands every outcome to `record`, which may raise to end the run."""

    def __init__(self, maker: Maker, record: Callable[[Outcome], None], helpers: Executor) -> None:
        self._maker = maker
        self._record = record
        self._helpers = helpers
        self._failures: dict[str, int] = {}  # of items that are not over
        self._turns: dict[str, int] = {}
        self._bounces: dict[str, int] = {}
        self._aside = 0  # in a row

    async def run(self, hosts: list[Host], pool: ItemPool) -> None:
        """Make all items of the pool. Raises HostError when no server is left, and what `record` raises."""
        servers = self._maker.plan.servers
        async with AsyncExitStack() as stack:
            stations = []
            for host in hosts:
                link = await stack.enter_async_context(
                    connect(host.address, servers.answer_s, servers.stall_s)
                )
                stations.append(Station(host, link, servers.patience_s))
            tasks = [
                asyncio.create_task(self._slot(station, pool))
                for station in stations
                for _ in range(servers.window)
            ]
            try:
                await _all(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        lost = [station.lost for station in stations if station.lost]
        if len(lost) == len(stations) and not pool.is_over:
            raise HostError(
                "No server is left: " + "; ".join(error.problem for error in lost),
                fix="start one and repeat the command: what is made is kept",
            )

    async def _slot(self, station: Station, pool: ItemPool) -> None:
        while await station.ready():
            item = await pool.take()
            if item is None:
                return
            try:
                outcome = await self._make(station, item)
            except BaseException:
                pool.give_back(item)
                raise
            if outcome is None:
                pool.give_back(item, late=self._bounces.get(item.id, 0) > MANY_BOUNCES)
                continue
            self._record(outcome)
            pool.settle()
            self._forget(item)

    async def _make(self, station: Station, item: Item) -> Outcome | None:
        """Make an item; None where it is to be tried again."""
        turn = self._turns.get(item.id, 0)
        try:
            outcome = await make(self._maker, item, turn, station.connection, self._helpers)
        except ServerFault as fault:
            station.report(fault)
            self._turns[item.id] = turn + isinstance(fault, UselessResult)
            self._bounces[item.id] = self._bounces.get(item.id, 0) + 1
            return self._set_aside(item, fault) if self._bounces[item.id] >= MOST_BOUNCES else None
        except CCMError as error:
            self._turns[item.id] = turn + 1
            self._failures[item.id] = self._failures.get(item.id, 0) + 1
            again = isinstance(error, ItemFault) and self._failures[item.id] < self._maker.plan.servers.tries
            return None if again else self._set_aside(item, error)
        except Exception as error:  # whatever one item does must not end a run over thousands
            logger.exception("%s", item.id)
            return self._set_aside(item, ItemFault(f"{type(error).__name__}: {error}", fix="report it"))
        station.worked()
        self._aside = 0
        return outcome

    def _set_aside(self, item: Item, error: CCMError) -> Outcome:
        self._aside += 1
        if self._aside >= MOST_ASIDE:
            raise GraphError(
                f"{self._aside} items in a row failed; the last one, {item.id}: {error.problem}",
                fix=error.fix,
            )
        return failed(item, str(error))

    def _forget(self, item: Item) -> None:
        for counts in (self._failures, self._turns, self._bounces):
            counts.pop(item.id, None)


async def check_servers(maker: Maker, item: Item, hosts: list[Host]) -> dict[str, dict[str, Any]]:
    """Check the graph of an item on every server; return what each is. Raises HostError and GraphError."""
    plan = maker.plan.servers
    found: dict[str, dict[str, Any]] = {}
    graph = maker.workflow.fill({**item.values, "cohort": item.place.cohort})
    for host in hosts:
        async with connect(host.address, plan.answer_s, plan.stall_s) as connection:
            check_graph(graph, await connection.object_info(), host.address)
            told = await connection.provenance(_texts(graph))
            found[host.address] = told or {"versions": _versions(await connection.stats())}
    return found


def _versions(stats: dict[str, Any]) -> dict[str, Any]:
    """The versions of a server without the pack, as far as ComfyUI tells them."""
    system = stats.get("system", {})
    names = {"comfyui": "comfyui_version", "python": "python_version", "torch": "pytorch_version"}
    return {name: system.get(key) for name, key in names.items()}


def _texts(graph: Graph) -> list[str]:
    """The texts of a graph that could name a model file."""
    values = {value for node in graph.values() for value in node["inputs"].values() if isinstance(value, str)}
    return sorted(value for value in values if len(value) < MOST_LETTERS and "\n" not in value)


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
