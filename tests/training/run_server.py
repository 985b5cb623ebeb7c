"""Starts training runs as processes of their own without importing PyTorch each time, to be killed by a test.

Each line on standard input is `CONFIG.toml 0|1` (resume or not); each answer is the process id of the run.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent
runpy.run_path(str(HERE.parent / "conftest.py"))  # loads the pack
sys.path.insert(0, str(HERE))

import small_problem  # noqa: E402
import torch  # noqa: E402
from ccm_pack.training.config import read_config  # noqa: E402

torch.set_num_threads(1)
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # PyTorch imports much of itself at the first one


def serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended runs leave no zombie
    for line in sys.stdin:
        config, resume = line.rsplit(maxsplit=1)
        child = os.fork()
        if child == 0:
            os._exit(train(Path(config), resume == "1"))
        print(child, flush=True)


def train(config: Path, resume: bool) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        return 0 if small_problem.small_run(read_config(config), resume=resume).finish() else 130
    except BaseException:
        traceback.print_exc()
        return 1


serve()
