"""`python . utility CONFIG.toml`: do synthetic frames make networks better on real patients?"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .command import Command
from .writable import check_folder


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="a TOML file; training/configs/utility holds one to copy")
    parser.add_argument("--try", action="store_true", dest="few_seeds", help="accept fewer than 5 seeds")
    parser.add_argument(
        "--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="another value for one key"
    )
    parser.epilog = (
        "docs/utility.md explains every key. Ctrl-C ends it; the same command goes on where it was."
    )


def run(options: Namespace) -> int:
    from ..training.utility.config import read_utility
    from ..training.utility.study import study

    config = read_utility(options.config, tuple(options.set), options.few_seeds)
    check_folder(Path(config.run.folder), fix="choose another run.folder")
    print(study(config))
    print(f"Results: {config.run.folder}/utility.txt and utility.json")
    return 0


COMMAND = Command(
    "utility", "show, or not, that synthetic frames improve networks on real patients", arguments, run, "host"
)
