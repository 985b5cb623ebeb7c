"""`python . test` spreads the whole suite over processes; what names its own options runs as asked."""

from __future__ import annotations

import os
from argparse import Namespace

import pytest
from ccm_pack.cli import test as command


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []
    monkeypatch.setattr(command, "run_pytest", lambda options: calls.append(options) or 0)
    return calls


def test_the_whole_suite_runs_in_one_process_a_core_and_four_at_most(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for cores, processes in ((1, "1"), (2, "2"), (16, "4")):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        command.run(Namespace(rest=[]))
        assert asked.pop()[2:] == ["--numprocesses", processes, "--dist", "loadfile"]


def test_options_of_ones_own_reach_pytest_as_they_are(asked: list[list[str]]) -> None:
    command.run(Namespace(rest=["tests/ccm", "-x"]))
    assert asked == [["-m", "not soak", "tests/ccm", "-x"]]
