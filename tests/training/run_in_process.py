"""One of several processes of a small run: `run_in_process.py CONFIG.toml ROOM`.

All but the main process have memory for ROOM samples at a time.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
runpy.run_path(str(HERE.parent / "conftest.py"))  # loads the pack
sys.path.insert(0, str(HERE))

import small_problem  # noqa: E402
import torch  # noqa: E402
from ccm_pack.training.config import read_config  # noqa: E402
from ccm_pack.training.processes import join  # noqa: E402

torch.set_num_threads(1)
processes = join("cpu")
problem = small_problem.SmallProblem(None if processes.is_main else int(sys.argv[2]))
small_problem.small_run(read_config(sys.argv[1]), problem=problem, processes=processes).finish()
