"""Starts training runs as processes of their own without importing PyTorch each time, to be killed by a test.

`run_server.py small_problem|trainer` tells what a run is: one of the problem beside this file, or a real one.
Each line on standard input is `CONFIG.toml 0|1` (resume or not); each answer is the process id of the run.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent
runpy.run_path(str(HERE.parent / "conftest.py"))  # loads the pack
sys.path.insert(0, str(HERE))

import torch  # noqa: E402
from ccm_pack.training.config import TrainConfig, read_config  # noqa: E402

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


if sys.argv[1] == "trainer":
    from ccm_pack.training import trainer
    from ccm_pack.training.bases.host_modules import import_host

    import_host()
    importlib.import_module("comfy.sd")

    def run(config: TrainConfig, resume: bool) -> bool:
        return trainer.train(config, resume=resume)
else:
    import small_problem

    def run(config: TrainConfig, resume: bool) -> bool:
        return small_problem.small_run(config, resume=resume).finish()


def train(config: Path, resume: bool) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        return 0 if run(read_config(config), resume) else 130
    except BaseException:
        traceback.print_exc()
        return 1


serve()
