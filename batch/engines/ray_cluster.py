"""A run on a Ray cluster: one ComfyUI for each worker, started and watched there; Ray places and restarts workers.

Ray rather than Dask, because Ray's actors hold a GPU and a running ComfyUI, are started again when their process or
machine dies, and have their calls repeated; Dask's actors are lost with their worker.

Only this process writes files: workers hand over pictures and lines. The pack lies at the same path on all machines.
"""

from __future__ import annotations

import importlib
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ...ccm.errors import CCMError, HostError
from ...host.paths import ROOT
from ..items import Item
from ..making import Maker, Outcome, failed

PACKAGE = __name__.rsplit(".", 3)[0]
MOST_RETRIES = 5  # of an item whose worker died under it


class Cluster:
    """Workers on a Ray cluster at `address`, or on this machine without one; use it in a `with` statement."""

    def __init__(self, maker: Maker, address: str | None, workers: int | None) -> None:
        self._ray = _import_ray()
        plan = maker.plan
        self._ahead = plan.servers.window
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError) as error:
            raise HostError(
                f"There is no Ray cluster at {address} ({error})", fix="start one with `ray start --head`"
            ) from error
        there = self._ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        options = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        options |= {"max_restarts": -1, "max_task_retries": MOST_RETRIES, "max_concurrency": self._ahead}
        kind = self._ray.remote(**options)(_worker_class())
        count = workers or gpus or int(there.get("CPU", 1))
        told = pickle.dumps(plan)
        self.workers = [kind.remote(str(ROOT), PACKAGE, told, number) for number in range(count)]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        stopping = [worker.stop.remote() for worker in self.workers]
        self._ray.wait(stopping, num_returns=len(stopping), timeout=30)
        self._ray.shutdown()

    def check(self, item: Item) -> dict[str, dict[str, Any]]:
        """Check the graph of an item on every worker; return what each is, by its address. Raises CCMError."""
        asked = [worker.check.remote(pickle.dumps(item)) for worker in self.workers]
        try:
            return {name: told for answer in asked for name, told in self._get(answer).items()}
        except self._ray.exceptions.RayError as error:
            raise HostError(
                f"A worker did not start: {error}", fix="see to it that the pack lies at this path there, too"
            ) from error

    def make(self, waiting: Iterator[Item], record: Callable[[Outcome], None]) -> bool:
        """Make what waits and record every outcome; return whether Ctrl-C stopped it. Raises CCMError."""
        presses: list[int] = []
        before = signal.signal(signal.SIGINT, partial(_press, presses))
        try:
            self._make(waiting, record, presses)
        finally:
            signal.signal(signal.SIGINT, before)
        return bool(presses)

    def _make(self, items: Iterator[Item], record: Callable[[Outcome], None], stopped: list[int]) -> None:
        free = deque(worker for _ in range(self._ahead) for worker in self.workers)
        waiting: dict[Any, tuple[Any, Item]] = {}
        while True:
            while free and not stopped and (item := next(items, None)) is not None:
                worker = free.popleft()
                waiting[worker.make.remote(pickle.dumps(item))] = (worker, item)
            if not waiting:
                return
            ready, _ = self._ray.wait(list(waiting), timeout=1.0)
            for answer in ready:
                worker, item = waiting.pop(answer)
                free.append(worker)
                record(self._outcome(answer, item))

    def _outcome(self, answer: Any, item: Item) -> Outcome:
        try:
            return self._get(answer)
        except self._ray.exceptions.RayActorError:
            return failed(item, f"its worker died {MOST_RETRIES + 1} times")

    def _get(self, answer: Any) -> Any:
        """The answer of a worker, or the error that it caught."""
        result = pickle.loads(self._ray.get(answer))
        if isinstance(result, CCMError):
            raise result
        return result


def _press(presses: list[int], *_: object) -> None:
    """The first Ctrl-C hands out no more items, the second ends the run."""
    presses.append(1)
    if len(presses) > 1:
        raise KeyboardInterrupt
    print("\nFinishing what runs; Ctrl-C again to leave at once.", file=sys.stderr, flush=True)


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise HostError(
            "The engine ray needs the package ray, which is not installed",
            fix=f"`{sys.executable} -m pip install ray`, on every machine of the cluster",
        ) from error


def _worker_class() -> type:
    """The class of the workers. Made inside a function, so that Ray sends its code and need not import the pack.

    Arguments and answers are pickled here, since the pack is known only once __init__ has imported it.
    """

    class Worker:
        def __init__(self, root: str, package: str, plan: bytes, number: int) -> None:
            import importlib
            import sys
            from importlib.util import module_from_spec, spec_from_file_location

            if package not in sys.modules:
                spec = spec_from_file_location(
                    package, f"{root}/__init__.py", submodule_search_locations=[root]
                )
                assert spec is not None and spec.loader is not None
                sys.modules[package] = module_from_spec(spec)
                spec.loader.exec_module(sys.modules[package])
            self._worker = importlib.import_module(f"{package}.batch.engines.ray_worker").Worker(plan, number)

        async def check(self, item: bytes) -> bytes:
            return await self._worker.check(item)

        async def make(self, item: bytes) -> bytes:
            return await self._worker.make(item)

        async def stop(self) -> None:
            self._worker.stop()

    return Worker
