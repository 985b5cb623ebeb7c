"""Ablation: raw base, plain LoRA, WDLoRA and their rivals at the same steps and samples, over several seeds.

Each arm of each seed is a run folder, so that an ablation that was stopped goes on where it was. The runs of a
seed share the split of the patients, the samples, their noise and the noise of the frames that are generated. Each
is measured once, after its last step, on the validation patients; no checkpoint is chosen by them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .ablation_table import as_csv, as_json, as_text
from .checkpoint import replace_durably
from .config import TrainConfig
from .folder import VALIDATION, RunFolder
from .layers.injection import find_targets
from .processes import join
from .rivals import GAN, SCRATCH, train_rival, with_optimizer
from .task import bare
from .trainer import LAST, Setup, set_up, train
from .validate import Validation

log = logging.getLogger(__name__)

BASE, LORA, WDLORA = "base", "lora", "wdlora"
ADAPTERS = (BASE, LORA, WDLORA)  # always compared, as many parameters in both adapters
RIVALS = (GAN, SCRATCH)
PLAN = "plan.json"


def ablate(
    config: TrainConfig, seeds: int, rivals: Sequence[str] = (), allow_image_split: bool = False
) -> str | None:
    """Run what is left of an ablation in run.folder and return its table; None where Ctrl-C ended it early.

    `config` describes the WDLoRA arm of the first seed; further seeds count up from it. `rivals` are arms of RIVALS
    besides. Raises TrainingError as `train` does.
    """
    folder, arms = Path(config.run.folder), (*rivals, *ADAPTERS)
    results: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in arms}
    for seed in range(config.run.seed, config.run.seed + seeds):
        for arm in arms:
            configured = arm_config(config, arm, seed)
            if finished(configured, arm) is None:
                log.info("Arm %s, seed %d", arm, seed)
                if not _run(configured, arm, folder, allow_image_split):
                    return None
            results[arm][seed] = finished(configured, arm) or {}
    plan = json.loads((folder / PLAN).read_text("utf-8"))
    text = as_text(results, _facts(config, plan))
    found = as_json(results, {**plan, "steps": config.optimizer.steps})
    replace_durably(folder / "ablation.txt", text.encode())
    replace_durably(folder / "ablation.csv", as_csv(results).encode())
    replace_durably(folder / "ablation.json", json.dumps(found, indent=1).encode())
    return text


def arm_config(config: TrainConfig, arm: str, seed: int) -> TrainConfig:
    """Return the configuration of one run, which is measured after its last step only."""
    name = f"{arm}_seed{seed}"
    return replace(
        with_optimizer(config, arm) if arm in RIVALS else config,
        adapter=replace(config.adapter, method=LORA if arm == LORA else WDLORA),
        validation=replace(config.validation, every=config.optimizer.steps),
        run=replace(config.run, folder=str(Path(config.run.folder) / name), seed=seed),
    )


def finished(config: TrainConfig, arm: str) -> dict[str, float] | None:
    """Return the numbers of a run that came to its end."""
    folder = RunFolder(Path(config.run.folder), 1)
    last = 0 if arm == BASE else config.optimizer.steps
    lines = [line for line in folder.lines(VALIDATION) if line["step"] == last]
    is_saved = last in folder.checkpoints.steps() if arm in RIVALS else (folder.path / LAST).is_file()
    if not lines or not (arm == BASE or is_saved):
        return None
    return {name: float(value) for name, value in lines[-1].items() if name != "step"}


def matched_rank(targets: Mapping[str, nn.Module], rank: int) -> tuple[int, int, int]:
    """Return the rank of a LoRA with about as many parameters as a WDLoRA of this rank, and both counts.

    A and B of one layer have in and out numbers for each rank, the magnitudes out numbers once.
    """
    weights = [weight for module in targets.values() if isinstance(weight := module.weight, Tensor)]
    each = sum(weight[0].numel() + weight.shape[0] for weight in weights)
    magnitudes = sum(weight.shape[0] for weight in weights)
    plain = round(rank + magnitudes / each)
    return plain, plain * each, rank * each + magnitudes


def _run(config: TrainConfig, arm: str, folder: Path, allow_image_split: bool) -> bool:
    if arm == BASE:
        return _measure_base(config, folder, allow_image_split)
    if arm in RIVALS:
        return train_rival(arm, _set_up(config, allow_image_split))
    if arm == LORA:
        plan = json.loads((folder / PLAN).read_text("utf-8"))
        rank, adapter = plan["lora_rank"], config.adapter
        config = replace(
            config, adapter=replace(adapter, rank=rank, alpha=adapter.alpha * rank / adapter.rank)
        )
    return train(config, resume=True, allow_image_split=allow_image_split)


def _measure_base(config: TrainConfig, folder: Path, allow_image_split: bool) -> bool:
    """Measure the base with no adapter, and plan the ranks of the other arms."""
    setup = _set_up(config, allow_image_split)
    run = RunFolder(Path(config.run.folder), 1)
    run.path.mkdir(parents=True, exist_ok=True)
    if not (folder / PLAN).exists():
        replace_durably(folder / PLAN, json.dumps(_plan(setup), indent=1).encode())
    validation = Validation(setup, setup.splits.validation, run.samples)
    with bare(setup.base, config.memory, setup.processes.device):
        numbers = validation(0)
    run.append(VALIDATION, {"step": 0, **numbers})
    return True


def _set_up(config: TrainConfig, allow_image_split: bool) -> Setup:
    return set_up(
        config, join(config.run.device), allow_image_split, Path(config.run.folder).parent / "cache"
    )


def _plan(setup: Setup) -> dict[str, Any]:
    adapter = setup.config.adapter
    targets = find_targets(
        setup.base.network, replace(adapter, targets=adapter.targets or setup.base.targets)
    )
    rank, plain, decomposed = matched_rank(targets, adapter.rank)
    return {
        "wdlora_rank": adapter.rank,
        "wdlora_parameters": decomposed,
        "lora_rank": rank,
        "lora_parameters": plain,
    }


def _facts(config: TrainConfig, plan: Mapping[str, Any]) -> list[str]:
    gap = plan["lora_parameters"] / plan["wdlora_parameters"] - 1
    return [
        f"{config.base.family}, {config.optimizer.steps} steps of {config.effective_batch} samples in all but base.",
        f"WDLoRA: rank {plan['wdlora_rank']}, {plan['wdlora_parameters']:,} parameters. LoRA: rank "
        f"{plan['lora_rank']}, {plan['lora_parameters']:,} parameters ({gap:+.1%}).",
    ]
