"""The progress of a graph, as a log holds it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ccm_pack.batch.client import Progress
from ccm_pack.cli import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_log_hears_of_every_node_and_of_a_slow_one_every_half_minute(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    ticker = progress.Ticker({"1": {"_meta": {"title": "Load"}}, "2": {"_meta": {"title": "Sample"}}})
    ticker(Progress("1", "Loader", 0, 1))
    for step in range(8):
        clock.now = 10.0 * step
        ticker(Progress("2", "Sampler", step, 20))
    ticker.done()
    assert capsys.readouterr().out.splitlines() == [
        "      0 s    1 of 2  Load",
        "      0 s    2 of 2  Sample  0/20",
        "     30 s    2 of 2  Sample  3/20",
        "     60 s    2 of 2  Sample  6/20",
        "  Done in 70 s.",
    ]
