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
FIGURE = re.compile(
    r"\d(?:\.\d+)?e-\d+|\b\d[\d.]* (?:ms|MB)\b|\b[\d,.]+ (?:x\)|times faster)|\b0\.\d{3}\b"
)  # what was measured reads like this; sections that begin so hold defaults instead
DEFAULTS = "### ["
IN_THE_PACK = ("tests/", "training/", "workflows/", "weights/")
PRINTS = re.compile(
    r"python \. (?:bench|test|evaluate|utility|ablate|train|adapter) |make (?:bench-|ablation|report)"
)


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


def flags_of_bench(name: str) -> set[str]:
    """The options that the source of a benchmark declares."""
    module = ROOT / "benchmarks" / name.replace("-", "_")
    files = [module.with_suffix(".py"), *module.glob("*.py")]
    text = "".join(file.read_text("utf-8") for file in files if file.is_file())
    return set(re.findall(r'"(--[a-z-]+)"', text))


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
            missing = [word for word in rest if word.startswith(IN_THE_PACK) and not (ROOT / word).exists()]
            assert not missing, f"`python . {told}`: no {missing}"
            if commands[name].passes_on:
                continue
            parser = parser_of(commands[name])
            used = {word.partition("=")[0] for word in rest if word.startswith("--")}
            known_flags = flags_of_bench(rest[0]) if name == "bench" else flags_of(parser)
            assert used <= known_flags, f"`python . {told}`: no option {used - known_flags}"
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_section_with_a_measured_figure_names_the_command_that_prints_it(page: Path) -> None:
    for section in re.split(r"^(?=#+ )", page.read_text("utf-8"), flags=re.MULTILINE):
        figures = FIGURE.findall(section)
        if figures and not section.startswith(DEFAULTS):
            assert PRINTS.search(section), f"{section.splitlines()[0]}: {figures}"


def test_every_figure_of_the_readme_has_its_command_beside_it() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(
        r"^\| (.+) \| (.+) \| (.+) \|$", text.split("## Measured")[1].split("## ")[0], re.MULTILINE
    )
    assert len(rows) > 5
    for what, _, command in rows[1:]:
        assert PRINTS.search(f"{command} ") or command == "the same", what
