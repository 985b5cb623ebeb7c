"""The command line: `python . <command>` from this folder, `python path/to/folder <command>` from anywhere.

Python puts this folder first on sys.path, where our `nodes` would hide ComfyUI's. It is taken off again, and
the folder, whatever it is called, is imported as the package `comfyui_ccm`.
"""

import importlib.util
import os
import sys

NAME = "comfyui_ccm"
MINIMUM = (3, 10)
ROOT = os.path.dirname(os.path.abspath(__file__))


def check_python(version):
    if version < MINIMUM:
        have = ".".join(map(str, version[:2]))
        sys.exit("Python " + have + " is too old. Fix: use 3.10 or newer, for example `python3.11 . demo`.")


def main():
    check_python(tuple(sys.version_info))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != ROOT]
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(ROOT, "__init__.py"), submodule_search_locations=[ROOT]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    cli = importlib.import_module(NAME + ".cli")
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
