"""Seeds and ports out of range are refused by argparse, with the usage of the command."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest
from ccm_pack import cli
from ccm_pack.cli import demo_graph
from ccm_pack.cli.option_types import port, seed


def test_the_first_and_the_last_are_taken() -> None:
    assert (seed("0"), seed("18446744073709551615")) == (0, 2**64 - 1)
    assert (port("1"), port("65535")) == (1, 65535)


@pytest.mark.parametrize("text", ["-1", "18446744073709551616", "1.5", "", "one"])
def test_another_seed_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not a whole number from 0 to 18446744073709551615"):
        seed(text)


@pytest.mark.parametrize("text", ["0", "65536", "-80", "http"])
def test_another_port_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not a whole number from 1 to 65535"):
        port(text)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["demo", "--seed", "-1"], "argument --seed: -1 is not a whole number"),
        (["dataset", "check", "x", "--seed", "-1"], "argument --seed: -1 is not a whole number"),
        (["dataset", "phantoms", "x", "--seed", "-1"], "argument --seed: -1 is not a whole number"),
        (["ui", "--port", "99999"], "argument --port: 99999 is not a whole number"),
    ],
)
def test_every_command_says_so(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2 and told in capsys.readouterr().err


def test_the_last_seed_gives_a_graph_that_the_host_takes() -> None:
    graph = demo_graph.prepare(None, None, 2**64 - 1)
    seeds = [node["inputs"]["seed"] for node in graph.values() if "seed" in node["inputs"]]
    assert seeds and all(0 <= number < 2**64 for number in seeds)
