"""Show how far a graph is: on one line of a terminal, or in a log, by a line per node and per half minute."""

from __future__ import annotations

import sys
import time

from ..batch.client import Graph, Progress

QUIET_SECONDS = 30  # a log hears of a node that takes longer


class Ticker:
    """Prints the progress of one run; use it as the `on_progress` of a client."""

    def __init__(self, graph: Graph) -> None:
        self._titles = {node: data.get("_meta", {}).get("title", node) for node, data in graph.items()}
        self._seen: dict[str, None] = {}
        self._began = self._printed = time.monotonic()
        self._live = sys.stdout.isatty()

    def __call__(self, progress: Progress) -> None:
        new = progress.node not in self._seen
        self._seen[progress.node] = None
        now = time.monotonic()
        title = self._titles.get(progress.node, progress.class_type)
        steps = f"  {progress.value}/{progress.maximum}" if progress.maximum > 1 else ""
        text = f"  {now - self._began:5.0f} s  {len(self._seen):3} of {len(self._titles)}  {title}{steps}"
        if self._live:
            print(f"\r{text:<100}", end="", flush=True)
        elif new or now - self._printed >= QUIET_SECONDS:
            print(text, flush=True)
            self._printed = now

    def done(self) -> None:
        """End the line and say how long it took."""
        print(f"{chr(10) if self._live else ''}  Done in {time.monotonic() - self._began:.0f} s.", flush=True)
