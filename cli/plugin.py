"""Hand a command over to a module of the pack that has `main(arguments) -> exit status`."""

from __future__ import annotations

import importlib
import os
import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from pathlib import Path

from ..host import locate
from ..host.paths import ROOT

PACKAGE = __name__.rpartition(".cli.")[0]


def arguments(parser: ArgumentParser, folder: str) -> None:
    """Let the user name one module of `folder` and give it arguments."""
    parser.add_argument("name", choices=names(folder), help=f"a module of {folder}/")
    parser.add_argument("arguments", nargs=REMAINDER, help="options of that module")


def run(options: Namespace, folder: str) -> int:
    """Call `main` of the module that the user named; COMFYUI_PATH tells it where ComfyUI is."""
    os.environ["COMFYUI_PATH"] = str(locate.ready(Path(sys.executable)))
    module = importlib.import_module(f"{PACKAGE}.{folder}.{options.name.replace('-', '_')}")
    return module.main(options.arguments)


def names(folder: str) -> list[str]:
    """Return the names of the modules and packages in `folder` that can be run: those that define `main`."""
    files = {path.stem: path for path in (ROOT / folder).glob("*.py")}
    files |= {path.parent.name: path for path in (ROOT / folder).glob("*/__init__.py")}
    runnable = (name for name, path in files.items() if "\ndef main(" in path.read_text("utf-8"))
    return sorted(name.replace("_", "-") for name in runnable)
