"""`python . docs locales|reference|pictures|thumbnails`: what is made from the code, so that it stays with it."""

from __future__ import annotations

import pkgutil
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from ..host.paths import OUTPUT, ROOT
from .command import Command

REFERENCE = OUTPUT / "reference"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=tuple(MADE),
        help="locales/en from the nodes; the reference of ccm/ as HTML; icon, banner, pictures of the help pages; "
        "thumbnails of the templates, by the weights that ship",
    )


def run(options: Namespace) -> int:
    written = MADE[options.what]()
    for path in written:
        print(f"Wrote {path}", flush=True)
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


def pictures() -> Iterator[Path]:
    """Draw icon and banner, and a picture for each help page, from phantoms and in a real ComfyUI."""
    from ..batch.client import Client
    from ..host import locate, server
    from . import docs_help_pictures, docs_pictures

    yield from docs_pictures.write(ROOT / "docs" / "pictures")
    with server.running(locate.ready(Path(sys.executable))) as comfy, Client(comfy.address) as client:
        yield from docs_help_pictures.write(ROOT / "web" / "docs" / "pictures", client)


def thumbnails() -> list[Path]:
    """Draw the thumbnails of the templates again, after new weights or for a new template."""
    from . import docs_thumbnails

    return docs_thumbnails.write(docs_thumbnails.TEMPLATES)


MADE = {"locales": locales, "reference": reference, "pictures": pictures, "thumbnails": thumbnails}
COMMAND = Command(
    "docs",
    "write the locale files, the reference of the functions, the pictures, or the thumbnails",
    arguments,
    run,
    "tools",
)
