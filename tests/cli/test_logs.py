"""What a training prints: our own progress, and of the host only its warnings."""

from __future__ import annotations

import subprocess
import sys

from ccm_pack.host.paths import ROOT

CODE = """
import logging, runpy, sys
sys.argv = ["x", "weights"]
try:
    runpy.run_path(".", run_name="__main__")
except SystemExit:
    pass
from comfyui_ccm.cli import logs
logs.show()
logging.info("Requested to load a model")
logging.getLogger("comfy").info("loaded completely")
logging.warning("low memory")
logging.getLogger("comfyui_ccm.training.loop").info("step 1")
logging.getLogger("comfyui_ccm.training.loop").debug("details")
"""


def test_our_progress_is_heard_and_of_the_host_only_warnings() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines() == ["low memory", "step 1"]
