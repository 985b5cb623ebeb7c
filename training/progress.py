"""What a person sees of a running training: a bar, JSON lines, TensorBoard."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch

from ..ccm.errors import TrainingError
from .folder import LOG, VALIDATION, RunFolder
from .loop import Loop, Step


class Progress:
    """Shows and records each step; only the main process of several has one that does anything."""

    def __init__(self, loop: Loop, folder: RunFolder) -> None:
        self._loop, self._folder = loop, folder
        self._main = loop.processes.is_main
        self._losses: deque[float] = deque(maxlen=max(1, loop.config.optimizer.steps // 10))
        self._last = time.monotonic()
        wanted = loop.config.run.tensorboard and self._main
        self._board = _tensorboard(folder, loop.step) if wanted else None

    def __enter__(self) -> Progress:
        from tqdm import tqdm

        self._bar = tqdm(
            total=self._loop.config.optimizer.steps,
            initial=self._loop.step,
            unit="step",
            dynamic_ncols=True,
            disable=not self._main,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._board:
            self._board.close()

    def show(self, step: Step) -> None:
        """Report one optimizer step."""
        seconds, self._last = time.monotonic() - self._last, time.monotonic()
        if not self._main:
            return
        line = {
            "step": step.number,
            "loss": step.loss,
            "gradient_norm": step.gradient_norm,
            "learning_rate": step.learning_rate,
            "micro_batch": self._loop.micro_batch,
            "samples_per_s": round(self._loop.config.effective_batch / seconds, 3),
            "memory_gb": round(memory_bytes(self._loop.processes.device) / 1e9, 3),
        }
        self._folder.append(LOG, line)
        self._record(line, "training")
        self._losses.append(step.loss)
        mean = sum(self._losses) / len(self._losses)
        self._bar.set_postfix_str(f"loss {mean:.4g}, {line['memory_gb']:.2f} GB", refresh=False)
        self._bar.update()

    def validated(self, step: int, numbers: Mapping[str, float]) -> None:
        """Report one validation."""
        if self._main:
            line = {"step": step, **numbers}
            self._folder.append(VALIDATION, line)
            self._record(line, "validation")
            self._bar.write(", ".join(f"{name} {value:.4g}" for name, value in line.items()))

    def _record(self, line: Mapping[str, Any], kind: str) -> None:
        if self._board:
            for name, value in line.items():
                self._board.add_scalar(f"{kind}/{name}", value, line["step"])


def memory_bytes(device: torch.device) -> int:
    """The peak of allocated memory of a GPU, or what the process occupies on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import psutil

    return psutil.Process().memory_info().rss


def _tensorboard(folder: RunFolder, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            f"run.tensorboard is true, and TensorBoard cannot be imported ({error})",
            fix="run `pip install tensorboard` in ComfyUI's Python, or set it to false",
        ) from error
    return SummaryWriter(str(folder.path / "tensorboard"), purge_step=step + 1)
