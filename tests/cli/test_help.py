"""What `--help` says: our own options, and where more is explained."""

from __future__ import annotations

import pytest
from ccm_pack import cli
from ccm_pack.host.paths import ROOT


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Return what a command prints for `--help`, its line breaks made spaces."""
    monkeypatch.setenv("COLUMNS", "80")

    def told(*arguments: str) -> str:
        with pytest.raises(SystemExit) as left:
            cli.main(list(arguments))
        assert left.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    return told


@pytest.mark.parametrize("name", ["test", "soak"])
@pytest.mark.parametrize("rest", [["-h"], ["--help"], ["tests/cli", "-x", "--help"]])
def test_what_goes_to_pytest_has_a_help_of_its_own(told, name: str, rest: list[str]) -> None:
    text = told(name, *rest)
    assert text.startswith(f"usage: python . {name} [-h] [pytest's options and paths]")
    assert len(text) < 500


def test_an_action_that_can_be_left_out_is_in_brackets(told) -> None:
    assert told("weights", "--help").startswith("usage: python . weights [-h] [--folder FOLDER] [action ...]")
    assert told("weights", "train", "--help").startswith("usage: python . weights train [-h]")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("measure", "docs/measuring.md"),
        ("evaluate", "docs/evaluation.md"),
        ("bench", "benchmarks/"),
        ("adapter", "docs/adapters.md"),
        ("utility", "docs/utility.md"),
    ],
)
def test_the_help_says_where_more_is_explained(told, name: str, place: str) -> None:
    assert place in told(name, "--help") and (ROOT / place).exists()


def test_convert_says_which_formats_need_the_base(told) -> None:
    needed = "needed for every format but peft and kohya"
    assert needed in told("adapter", "convert", "--help")
    assert needed not in told("adapter", "verify", "--help")
