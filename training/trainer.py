"""A training from a configuration to an adapter file, and its dry run."""

from __future__ import annotations

import logging
import secrets
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .bases import Base, load_base
from .bases.host_modules import import_host
from .bases.routes import NoRoute
from .cache import TensorCache
from .config import TrainConfig
from .control_net import CONTROL_NET, ControlTask, controlled, give_control_net
from .data.gather import gather
from .data.sampler import Sampler
from .data.split import Splits
from .export import describe_data, describe_run
from .folder import RunFolder
from .loop import Loop
from .memory import predict_peak, probed
from .plan import GIB, check_fits, work
from .prepare import Prepared
from .processes import Processes, join
from .report import write_report
from .run import Run, Validate
from .task import LAST, Task, adapted

__all__ = ["CONTROL_NET", "LAST", "Setup", "dry_run", "plan_for", "set_up", "train"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """What a run needs before an adapter is put into the base."""

    config: TrainConfig
    processes: Processes
    splits: Splits
    base: Base
    sampler: Sampler
    prepared: Prepared


def train(config: TrainConfig, *, resume: bool = False, allow_image_split: bool = False) -> bool:
    """Train as configured and export; returns False where Ctrl-C ended it early, with a checkpoint.

    Raises an error of ccm/errors.py for a configuration, a data set or a base model that cannot be used.
    """
    processes = join(config.run.device)
    folder = RunFolder(Path(config.run.folder), config.checkpoint.keep_last)
    if processes.is_main:
        folder.prepare(config, resume)
    setup = set_up(config, processes, allow_image_split, folder.path.parent / "cache")
    validate = _validation(setup, folder)
    first = (folder.checkpoints.steps() or [0])[-1] * config.effective_batch
    positions = range(first, config.optimizer.steps * config.effective_batch)
    setup.prepared.fill(setup.sampler.sample(k) for k in positions[processes.index :: processes.count])
    processes.wait()
    with _task(setup) as task:
        description = _describe(setup, folder)
        if processes.is_main:
            folder.record_manifest(_manifest(description, setup, task, folder))
        run = Run(Loop(task, config, processes), folder, validate)
        if resume:
            run.resume()
        done = run.finish()
        if processes.is_main:
            adapters = _export(run, task, description) if done else []
            write_report(folder, adapters, run.standing.best_step)
    return done


def dry_run(config: TrainConfig, *, allow_image_split: bool = False) -> str:
    """Check everything that a run needs, and describe the run; only temporary files are written.

    Raises TrainingError where the computed memory does not fit the GPU, before any weight is read.
    """
    processes = join(config.run.device)
    if processes.device.type == "cuda":
        check_fits(config, torch.cuda.get_device_properties(processes.device).total_memory / GIB)
    with tempfile.TemporaryDirectory() as cache:
        setup = set_up(config, processes, allow_image_split, Path(cache))
        setup.prepared.fill(setup.sampler.sample(k) for k in range(probed(config)))
        with _task(setup) as task:
            return _plan(setup, task)


def plan_for(config: TrainConfig, memory_gb: float) -> str:
    """Compute the memory of a training on a GPU of this size from sizes alone; neither weights nor data are read.

    Raises TrainingError naming the settings that would fit, where it does not.
    """
    import_host()
    lines = [
        f"Memory   {check_fits(config, memory_gb)}",
        f"Work     {work(config) / 1e12:.0f} TFLOP in a step of {config.effective_batch} samples",
    ]
    return "\n".join(lines)


def set_up(config: TrainConfig, processes: Processes, allow_image_split: bool, cache: Path) -> Setup:
    """Check the data set and load the base model."""
    gathered = gather(config.data, config.run.seed, allow_image_split)
    splits = gathered.checked_splits()
    for warning in gathered.report.warnings:
        log.warning("%s", warning)
    _use_device(processes.device)
    base = load_base(config.base)
    if config.run.kind == "control":
        give_control_net(base, config)
    elif isinstance(base.route, NoRoute):
        log.warning("[base] names no control_net, so the masks do not reach the model")
    sampler = Sampler([record.cohort for record in splits.train], config.data, config.run.seed)
    prepared = Prepared(base, splits.train, TensorCache(cache), config.data)
    return Setup(config, processes, splits, base, sampler, prepared)


def _task(setup: Setup) -> AbstractContextManager[Task | ControlTask]:
    begin: Any = controlled if setup.config.run.kind == "control" else adapted
    return begin(setup.base, setup.prepared, setup.sampler, setup.config, setup.processes.device)


def _validation(setup: Setup, folder: RunFolder) -> Validate | None:
    if not setup.config.validation.every:
        return None
    from .validate import for_run

    return for_run(setup, folder)


def _use_device(device: torch.device) -> None:
    """Let the host compute where the run does; its choice is made when its modules are first imported."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    import_host()
    from comfy.cli_args import args

    args.cpu = device.type == "cpu"


def _describe(setup: Setup, folder: RunFolder) -> dict[str, Any]:
    salt = folder.manifest().get("salt") or secrets.token_hex(16)
    data = describe_data(setup.splits, salt)
    return {"salt": salt, **describe_run(setup.config, setup.base, data)}


def _manifest(
    description: dict[str, Any], setup: Setup, task: Task | ControlTask, folder: RunFolder
) -> dict[str, Any]:
    return {
        **description,
        setup.config.run.kind: {"layers": len(task.layers), "parameters": count(task)},
        "trained": list(task.layers),
        "splits": {
            name: [[str(r.frame), r.patient] for r in records]
            for name, records in setup.splits.named().items()
        },
    }


def _export(run: Run, task: Task | ControlTask, description: dict[str, Any]) -> list[str]:
    """Write what was trained, the last and, where there was validation, the best; returns the names of the files."""
    public = {name: value for name, value in description.items() if name != "salt"}
    path, best, (last_file, best_file) = run.folder.path, run.standing.best_step, task.files
    with run.loop.averaged():
        task.export(path / last_file, public, run.loop.step)
    if best is None:
        return [last_file]
    run.loop.restore(run.folder.checkpoints.load(best))
    with run.loop.averaged():
        task.export(path / best_file, public, best)
    return [last_file, best_file]


def count(task: Task | ControlTask) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in task.parameters.values())


def _plan(setup: Setup, task: Task | ControlTask) -> str:
    config, processes = setup.config, setup.processes
    steps, size = config.optimizer.steps, config.effective_batch
    prediction = predict_peak(task, config, processes)
    kind = "live tensors" if processes.device.type == "cpu" else "allocated memory of the GPU"
    counts = ", ".join(f"{len(records)} {name}" for name, records in setup.splits.named().items())
    lines = [
        f"Base     {setup.base.family} on {processes.device}, {setup.base.fingerprint[:12]}",
        f"Data     {counts} frames, split by {'patient' if setup.splits.by_patient else 'IMAGE'}",
        f"Steps    {steps} of {size} samples, {steps * size / len(setup.splits.train):.1f} times each frame",
        f"Memory   {prediction.peak / 1e9:.3f} GB at the peak of {kind}, {prediction.resident / 1e9:.3f} GB always",
        f"{_trained(config)}, {count(task):,} numbers in {len(task.layers)} layers:",
    ]
    for name, layer in task.layers.items():
        lines.append(f"  {name}  {type(layer).__name__} {' x '.join(map(str, layer.weight.shape))}")
    return "\n".join(lines)


def _trained(config: TrainConfig) -> str:
    if config.run.kind == "control":
        return "Control  a net that begins as a copy of the base"
    return f"Adapter  {config.adapter.method}, rank {config.adapter.rank}"
