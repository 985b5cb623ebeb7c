"""Work spread over processes, alike on every system, whatever name the pack goes by.

Processes are spawned, not forked: a fork inherits the locks of numerical libraries that other threads held. A new
interpreter does not know the pack, whose folder is on no search path, so each first runs this very file, which
imports the pack under the name it has here.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TypeVar

_WORKER = "ccm_worker"
_PACK = "PACK"  # global variable of a worker's run of this file: the name of the pack
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Generator[Result, None, None]:
    """Yield work(item) for each item in order, from as many processes as there are cores unless told otherwise.

    work is a function of a module of the pack, or a partial of one. With one worker or one item it runs here. What
    it raises is raised here; what was not begun then, or when the iterator is closed, is given up.
    """
    workers = min(workers or os.cpu_count() or 1, len(items))
    if workers <= 1:
        yield from map(work, items)
        return
    start = (str(Path(__file__)), {_PACK: __name__.rsplit(".", 2)[0]}, _WORKER)
    with ProcessPoolExecutor(workers, get_context("spawn"), runpy.run_path, start) as pool:
        yield from pool.map(work, items)


def _become_worker(name: str) -> None:
    """Import the pack in a fresh interpreter, one thread for each library; Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    if name in sys.modules:
        return
    root = Path(__file__).resolve().parents[1]
    spec = spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec is not None and spec.loader is not None
    pack = module_from_spec(spec)
    sys.modules[name] = pack
    spec.loader.exec_module(pack)


def _end_with_parent() -> None:
    """A parent that is killed cannot tell its workers to end."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


if __name__ == _WORKER:
    _become_worker(globals()[_PACK])
