"""`python . docs locales|reference|pictures`: what is made from the code, so that it cannot fall behind it."""

from __future__ import annotations

import pkgutil
import sys
import warnings
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..host.paths import OUTPUT, ROOT
from .command import Command

REFERENCE = OUTPUT / "reference"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("locales", "reference", "pictures"),
        help="locales/en from the nodes; the reference of ccm/ as HTML; icon, banner, pictures of the help pages",
    )


def run(options: Namespace) -> int:
    written = {"locales": locales, "reference": reference, "pictures": pictures}[options.what]()
    print("\n".join(f"Wrote {path}" for path in written))
    return 0


def locales() -> list[Path]:
    """Write the locale files of the nodes that a real ComfyUI offers."""
    from ..batch.client import Client
    from ..host import locate, server
    from . import docs_locales

    with server.running(locate.ready(Path(sys.executable))) as comfy, Client(comfy.address) as client:
        return docs_locales.write(client.object_info(), ROOT / "locales" / "en")


def reference() -> list[Path]:
    """Render the docstrings of every module of ccm/."""
    import pdoc

    from .. import ccm

    inner = pkgutil.walk_packages(ccm.__path__, f"{ccm.__name__}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # types that are imported for the type checker only
        pdoc.pdoc(ccm.__name__, *(module.name for module in inner), output_directory=REFERENCE)
    return [REFERENCE / "index.html"]


def pictures() -> list[Path]:
    """Draw icon and banner, and the pictures of the help pages, from phantoms."""
    from . import docs_help_pictures, docs_pictures

    help_pages = docs_help_pictures.write(ROOT / "web" / "docs" / "pictures")
    return docs_pictures.write(ROOT / "docs" / "pictures") + help_pages


COMMAND = Command(
    "docs",
    "write the locale files, the reference of the functions, or the pictures",
    arguments,
    run,
    "tools",
)
