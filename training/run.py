"""A run from its first step, or from its last checkpoint, to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from ..ccm.errors import TrainingError
from .checkpoint import Checkpoint
from .folder import RunFolder
from .interrupts import Interrupts
from .loop import Loop
from .progress import Progress

log = logging.getLogger(__name__)

Validate = Callable[[int], Mapping[str, float]]  # numbers after that step; the averaged adapter is in place


@dataclass(frozen=True)
class Standing:
    """What validation has found so far."""

    validated: int = 0  # the last step that was validated
    best_step: int | None = None
    best_value: float = 0.0

    def after(self, step: int, numbers: Mapping[str, float], criterion: str) -> Standing:
        """The standing after one more validation; `criterion` is "min" or "max" and the name of a number."""
        order, _, name = criterion.partition(" ")
        if name not in numbers:
            raise TrainingError(
                f"validation.criterion is {criterion!r}, and validation gives {', '.join(numbers)}",
                fix="name one of these",
            )
        value = numbers[name]
        better = value < self.best_value if order == "min" else value > self.best_value
        if self.best_step is None or better:
            log.info("Best so far: %s %.5g at step %d", name, value, step)
            return Standing(step, step, value)
        return replace(self, validated=step)


class Run:
    """Drives a loop, with checkpoints, validation, and an orderly end on Ctrl-C."""

    def __init__(self, loop: Loop, folder: RunFolder, validate: Validate | None = None) -> None:
        self.loop, self.folder, self.validate = loop, folder, validate
        self.config = loop.config
        self.standing = Standing()

    def resume(self) -> None:
        """Go to the newest checkpoint, if there is one, and forget what was logged after it."""
        checkpoint = self.folder.checkpoints.latest()
        if checkpoint is None:
            log.info("There is no checkpoint to go on from; starting at step 0")
            return
        self.restore(checkpoint)
        if self.loop.processes.is_main:
            self.folder.forget_after(checkpoint.step)
        log.info("Going on after step %d", checkpoint.step)

    def restore(self, checkpoint: Checkpoint) -> None:
        self.loop.restore(checkpoint)
        self.standing = Standing(**checkpoint.numbers["standing"])

    def finish(self) -> bool:
        """Do the steps that are left; returns False where Ctrl-C or SIGTERM ended it early, with a checkpoint."""
        with Interrupts() as interrupts, Progress(self.loop, self.folder) as progress:
            while True:
                best = self.standing.best_step
                if self._due(self.config.validation.every) and self.standing.validated < self.loop.step:
                    self._validate(progress)
                stop = self.loop.processes.any(interrupts.requested)
                done = self.loop.step >= self.config.optimizer.steps
                if stop or done or self._due(self.config.checkpoint.every) or best != self.standing.best_step:
                    self._save()
                if stop or done:
                    return done
                progress.show(self.loop.advance())

    def _due(self, every: int) -> bool:
        return every > 0 and (self.loop.step % every == 0 or self.loop.step == self.config.optimizer.steps)

    def _validate(self, progress: Progress) -> None:
        if self.validate is None:
            return
        numbers: Mapping[str, float] = {}
        if self.loop.processes.is_main:
            with self.loop.averaged():
                numbers = self.validate(self.loop.step)
        numbers = self.loop.processes.from_main(numbers)
        progress.validated(self.loop.step, numbers)
        self.standing = self.standing.after(self.loop.step, numbers, self.config.validation.criterion)

    def _save(self) -> None:
        if self.loop.processes.is_main:
            state = self.loop.checkpoint()
            numbers = {**state.numbers, "standing": asdict(self.standing)}
            self.folder.checkpoints.save(replace(state, numbers=numbers), self.standing.best_step)
        self.loop.processes.wait()
