"""Results that cannot be written are refused before any work."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
from ccm_pack import cli
from ccm_pack.ccm.errors import DataError
from ccm_pack.cli import dataset, demo, demo_graph, evaluate, measure
from ccm_pack.cli.command import Command
from ccm_pack.cli.writable import check_file, check_folder


def run(command: Command, *arguments: object) -> int:
    parser = ArgumentParser()
    command.arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def beneath_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "x"


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b", fix="")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_is_not_touched_only_its_folder_is_made(tmp_path: Path) -> None:
    check_file(tmp_path / "a" / "x.csv", fix="")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_folder_given_as_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"because it is a folder. Fix: mend it\."):
        check_file(tmp_path, fix="mend it")


def test_a_folder_beneath_a_file_cannot_be_written(beneath_a_file: Path) -> None:
    for check in (check_folder, check_file):
        with pytest.raises(DataError, match=r"cannot be written \(.+\)\. Fix: mend it\."):
            check(beneath_a_file, fix="mend it")


@pytest.mark.parametrize(
    ("command", "arguments", "fix"),
    [
        (measure.COMMAND, ["frames", "--out"], "choose another file with --out"),
        (evaluate.COMMAND, ["real", "made", "--out"], "choose another folder with --out"),
        (dataset.COMMAND, ["check", "frames", "--out"], "choose another file with --out"),
        (dataset.COMMAND, ["phantoms"], "choose another folder"),
        (demo.COMMAND, ["--output"], "choose another folder with --output"),
    ],
)
def test_every_command_refuses_it_before_its_work(
    command: Command, arguments: list[str], fix: str, beneath_a_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_graph, "prepare", lambda *_: {})
    with pytest.raises(DataError, match=f"cannot be written .* Fix: {fix}"):
        run(command, *arguments, beneath_a_file / "out")


def test_any_other_problem_with_a_file_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_space(*_: object) -> int:
        raise OSError(28, "No space left on device", "table.csv")

    monkeypatch.setattr(cli, "_run", no_space)
    assert cli.main(["weights"]) == 1
    assert capsys.readouterr().err == "\nError: [Errno 28] No space left on device: 'table.csv'\n"
