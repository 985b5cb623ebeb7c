"""Load the pack as `ccm_pack`, whatever its folder is called, and let tests import the host's own modules.

Importing the host here keeps it on the CPU; tests that need a whole server use the fixtures of tests/host.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def load_pack(name: str = "ccm_pack") -> None:
    """Import the pack under its own name; on sys.path its root would hide the host's `nodes`."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    spec = importlib.util.spec_from_file_location(
        name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def add_host() -> None:
    """Let `import comfy` find the ComfyUI that the command line found or fetched."""
    comfy = importlib.import_module("ccm_pack.host.locate").find()
    if comfy is not None:
        sys.path.append(str(comfy))
        importlib.import_module("comfy.cli_args").args.cpu = True


load_pack()
add_host()
