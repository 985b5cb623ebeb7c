"""A training from a configuration to an adapter file, and its dry run."""

from __future__ import annotations

import logging
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .bases import Base, load_base
from .bases.host_modules import import_host
from .cache import TensorCache
from .config import TrainConfig
from .data.gather import gather
from .data.sampler import Sampler
from .data.split import Splits
from .export import describe_data, describe_run, export
from .folder import RunFolder
from .loop import Loop
from .memory import predict_peak, probed
from .prepare import Prepared
from .processes import Processes, join
from .report import write_report
from .run import Run, Validate
from .task import Task, adapted

log = logging.getLogger(__name__)

LAST, BEST = "adapter.safetensors", "adapter_best.safetensors"


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
    with adapted(setup.base, setup.prepared, setup.sampler, config, processes.device) as task:
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
    """Check everything that a run needs, and describe the run; only temporary files are written."""
    processes = join(config.run.device)
    with tempfile.TemporaryDirectory() as cache:
        setup = set_up(config, processes, allow_image_split, Path(cache))
        setup.prepared.fill(setup.sampler.sample(k) for k in range(probed(config)))
        with adapted(setup.base, setup.prepared, setup.sampler, config, processes.device) as task:
            return _plan(setup, task)


def set_up(config: TrainConfig, processes: Processes, allow_image_split: bool, cache: Path) -> Setup:
    """Check the data set and load the base model."""
    gathered = gather(config.data, config.run.seed, allow_image_split)
    splits = gathered.checked_splits()
    for warning in gathered.report.warnings:
        log.warning("%s", warning)
    _use_device(processes.device)
    base = load_base(config.base)
    sampler = Sampler([record.cohort for record in splits.train], config.data, config.run.seed)
    prepared = Prepared(base, splits.train, TensorCache(cache), config.data)
    return Setup(config, processes, splits, base, sampler, prepared)


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


def _manifest(description: dict[str, Any], setup: Setup, task: Task, folder: RunFolder) -> dict[str, Any]:
    return {
        **description,
        "adapter": {"layers": len(task.injected.names), "parameters": count(task)},
        "adapted": task.injected.names,
        "splits": {
            name: [[str(r.frame), r.patient] for r in records]
            for name, records in setup.splits.named().items()
        },
    }


def _export(run: Run, task: Task, description: dict[str, Any]) -> list[str]:
    """Write the last adapter and, where there was validation, the best; returns their names."""
    public = {name: value for name, value in description.items() if name != "salt"}
    network, path, best = task.base.network, run.folder.path, run.standing.best_step
    with run.loop.averaged():
        export(path / LAST, network, public, run.loop.step)
    if best is None:
        return [LAST]
    run.loop.restore(run.folder.checkpoints.load(best))
    with run.loop.averaged():
        export(path / BEST, network, public, best)
    return [LAST, BEST]


def count(task: Task) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in task.injected.trainable)


def _plan(setup: Setup, task: Task) -> str:
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
        f"Adapter  {config.adapter.method}, rank {config.adapter.rank}, {count(task):,} numbers in "
        f"{len(task.injected.names)} layers:",
    ]
    for name, layer in task.injected.layers.items():
        weight = layer.get_base_layer().weight
        lines.append(
            f"  {name}  {type(layer.get_base_layer()).__name__} {' x '.join(map(str, weight.shape))}"
        )
    return "\n".join(lines)
