"""Every command and make target that the documents name exists, with the options that they give it."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from ccm_pack import cli
from ccm_pack.cli.plugin import names

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "web" / "docs").glob("*.md")),
    *sorted((ROOT / "weights").glob("*.md")),
]
CODE = re.compile(r"`([^`\n]+)`|^ {4}(\S.*)$", re.MULTILINE)
OURS = re.compile(r"(?:^|[\s(])(?:python3?|python3\.\d+) \. ([^#|]*)")
MAKE = re.compile(r"^make ([a-z][\w-]*)")


def snippets(page: Path) -> Iterator[str]:
    for inline, block in CODE.findall(page.read_text("utf-8")):
        yield inline or block


def parser_of(command: cli.Command) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=command.name, add_help=True)
    command.arguments(parser)
    return parser


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a command and of its sub-commands."""
    flags: set[str] = set()
    for action in parser._actions:
        flags |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            flags |= set().union(*(flags_of(sub) for sub in action.choices.values()))
    return flags


def choices_of(parser: argparse.ArgumentParser) -> set[str]:
    """What may stand first after the command, where that is a list; empty where anything may."""
    for action in parser._actions:
        if not action.option_strings and action.choices:
            return set(action.choices)
    return set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    commands = {command.name: command for command in cli.COMMANDS}
    for snippet in snippets(page):
        for told in OURS.findall(snippet):
            name, *rest = shlex.split(told.strip().rstrip("."))
            if name.startswith("<"):  # `python . <command>`
                continue
            assert name in commands, f"`python . {told}`"
            if commands[name].passes_on:
                continue
            parser = parser_of(commands[name])
            if name != "bench":  # its options are those of the module that it runs
                used = {word.partition("=")[0] for word in rest if word.startswith("--")}
                assert used <= flags_of(parser), f"`python . {told}`: no option {used - flags_of(parser)}"
            known = choices_of(parser)
            if known and rest and not rest[0].startswith("-"):
                assert set(rest[0].split("|")) <= known, f"`python . {told}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    targets |= {f"bench-{name}" for name in names("benchmarks")}
    for snippet in snippets(page):
        for target in MAKE.findall(snippet):
            assert target.rstrip("-") in targets or target == "bench-", f"`make {target}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
