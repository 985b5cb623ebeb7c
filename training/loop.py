"""The training loop: gradients of one effective batch, one optimizer step, and all that this leaves behind.

Step t uses the samples at positions t E ... (t + 1) E - 1 of a run, where E is the effective batch. What a
sample is depends on its position and the seed alone, so the loop holds no random state, and neither the size
of a micro-batch nor the number of processes changes what is computed, up to the order of a sum.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ..ccm.errors import TrainingError
from .checkpoint import Checkpoint
from .config import TrainConfig
from .ema import Average
from .optimizer import load_optimizer_state, make_optimizer, optimizer_state, rate, set_rate
from .processes import Processes, has_bf16

log = logging.getLogger(__name__)


class Problem(Protocol):
    """What is trained."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """What is trained, by name: fp32, in an order that does not change."""
        ...

    def losses(self, positions: range) -> Tensor:
        """The loss of each sample [B], fp32 and differentiable."""
        ...

    def refresh(self) -> None:
        """Called whenever the parameters have changed."""
        ...


@dataclass(frozen=True)
class Step:
    """What one optimizer step did."""

    number: int
    loss: float
    gradient_norm: float
    learning_rate: float


class Loop:
    """The state of a training, between steps; `step` optimizer steps are done."""

    def __init__(self, problem: Problem, config: TrainConfig, processes: Processes) -> None:
        self.problem, self.config, self.processes = problem, config, processes
        self.parameters = problem.parameters
        self.step = 0
        self.micro_batch = config.optimizer.batch
        self.optimizer = make_optimizer(list(self.parameters.values()), config.optimizer)
        decay = config.optimizer.ema_decay
        self.average = Average(self.parameters, decay) if decay else None

    def advance(self) -> Step:
        """Do one optimizer step. Raises TrainingError if the loss or the gradient is not finite."""
        return self._update(self._gradients())

    def _gradients(self) -> Tensor:
        """Compute this process's share of the gradients of the next step; return its share of the loss.

        Out of memory, the micro-batch is halved and all of it computed again: a gradient may have been added
        to in part.
        """
        size = self.config.effective_batch
        positions = self.processes.share(range(self.step * size, (self.step + 1) * size))
        while True:
            try:
                return self._accumulate(positions)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                problem = str(error)
            self._halve(problem)  # out here, where the error no longer holds the tensors of the step

    def _update(self, loss: Tensor) -> Step:
        """Add up loss and gradients of all processes, and change the parameters.

        From here on all of them use the smallest micro-batch that one of them needs, which a checkpoint holds.
        """
        config = self.config.optimizer
        self.micro_batch = self.processes.smallest(self.micro_batch)
        self.processes.add_up([loss, *(_gradient(p) for p in self.parameters.values())])
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), config.clip_norm or math.inf)
        now = rate(self.step, config)
        step = Step(self.step + 1, loss.item(), float(norm), now.learning_rate)
        self._check_finite(step)
        set_rate(self.optimizer, now)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.problem.refresh()
        self.step += 1
        if self.average:
            self.average.update(self.step)
        return step

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it, the adapter is the one to validate and to export: the average, where there is one."""
        with self.average.applied(self.problem.refresh) if self.average else nullcontext():
            yield

    def checkpoint(self) -> Checkpoint:
        """Everything that a resumed run needs, on the CPU."""
        tensors, numbers = optimizer_state(self.optimizer, self.parameters)
        state = {f"adapter/{name}": p for name, p in self.parameters.items()}
        state |= {f"optimizer/{name}": tensor for name, tensor in tensors.items()}
        if self.average:
            state |= {f"average/{name}": tensor for name, tensor in self.average.values.items()}
        return Checkpoint(self.step, state, {"micro_batch": self.micro_batch, "optimizer": numbers})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same configuration. Raises TrainingError if it is of another adapter."""
        parts = {kind: _part(checkpoint.tensors, kind) for kind in ("adapter", "optimizer", "average")}
        shapes = {name: tensor.shape for name, tensor in parts["adapter"].items()}
        if shapes != {name: p.shape for name, p in self.parameters.items()}:
            raise TrainingError(
                "The checkpoint is of another adapter", fix="resume with the configuration of the run"
            )
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(parts["adapter"][name])
                if self.average:
                    self.average.values[name].copy_(parts["average"][name])
        numbers = checkpoint.numbers["optimizer"]
        load_optimizer_state(self.optimizer, self.parameters, parts["optimizer"], numbers)
        self.problem.refresh()
        self.step, self.micro_batch = checkpoint.step, checkpoint.numbers["micro_batch"]

    def _accumulate(self, positions: range) -> Tensor:
        """Add to the gradients of the mean loss over the effective batch, a micro-batch at a time."""
        total = torch.zeros((), device=self.processes.device)
        for start in range(0, len(positions), self.micro_batch):
            with self._autocast():
                losses = self.problem.losses(positions[start : start + self.micro_batch])
            loss = losses.float().sum() / self.config.effective_batch
            loss.backward()
            total += loss.detach()
        return total

    def _autocast(self) -> torch.autocast:
        device, asked = self.processes.device, self.config.memory.autocast
        wanted = has_bf16(device) if asked == "auto" else asked == "bf16"
        return torch.autocast(device.type, torch.bfloat16, enabled=wanted)

    def _halve(self, problem: str) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.micro_batch == 1:
            raise TrainingError(
                f"Out of memory with one sample at a time ({problem.splitlines()[0]})",
                fix="set memory.checkpointing = true, then memory.offload_blocks, or a smaller data.crop_px",
            )
        self.micro_batch = (self.micro_batch + 1) // 2
        log.warning(
            "Out of memory in step %d: computing it again with micro-batches of %d. The effective batch stays %d, "
            "no sample is lost.",
            self.step + 1,
            self.micro_batch,
            self.config.effective_batch,
        )

    def _check_finite(self, step: Step) -> None:
        if not (math.isfinite(step.loss) and math.isfinite(step.gradient_norm)):
            raise TrainingError(
                f"Step {step.number} has a loss of {step.loss:g} and a gradient norm of {step.gradient_norm:g}",
                fix="go on from the last checkpoint with a lower optimizer.learning_rate",
            )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error says that memory ran out, on a GPU or on the CPU."""
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(w in str(error).lower() for w in words)


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _part(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{kind}/"): v for k, v in tensors.items() if k.startswith(f"{kind}/")}
