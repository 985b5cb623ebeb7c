"""The adapter file of a run, and what it says about itself."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..ccm.adapter import base_from_peft, layers_from_peft, save_adapter
from .cache import hash_file
from .config import TrainConfig, to_tables

if TYPE_CHECKING:
    from ..ccm.frames.record import Record
    from .bases import Base
    from .data.split import Splits

PACKAGES = ("torch", "peft", "safetensors", "numpy")


def describe_data(splits: Splits, salt: str) -> dict[str, Any]:
    """Counts and hashes of a data set; neither patients nor file names can be read from them.

    The hash of the splits covers patients and is salted, as patient names are few enough to be guessed.
    """
    named = splits.named()
    return {
        "hash": _data_hash([record for records in named.values() for record in records]),
        "frames": {name: len(records) for name, records in named.items()},
        "patients": {name: len({r.patient for r in records} - {None}) for name, records in named.items()},
        "split_hash": _split_hash(named, salt),
        "split_by_patient": splits.by_patient,
        "cohorts": sorted({str(r.cohort) for r in splits.train if r.cohort is not None}),
    }


def describe_run(config: TrainConfig, base: Base, data: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an adapter's metadata that is known before the first step."""
    cohorts = sorted({r for r in data["cohorts"]})
    return {
        "base": {"family": base.family, "fingerprint": base.fingerprint},
        "data": dict(data),
        "config": _public(config),
        "versions": versions(),
        "seed": config.run.seed,
        "licence": config.run.licence or "not stated",
        "cohorts": cohorts,
        "trigger_prompt": _trigger(base, cohorts),
    }


def export(path: Path, network: nn.Module, description: Mapping[str, Any], step: int) -> None:
    """Write the adapter that is in the network; `description` is that of `describe_run`."""
    save_adapter(
        path, layers_from_peft(network), base_from_peft(network), training={**description, "step": step}
    )


def versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _public(config: TrainConfig) -> dict[str, Any]:
    """The configuration without folders, which may name people."""
    hidden = replace(
        config,
        data=replace(config.data, path=""),
        run=replace(config.run, folder=""),
        base=replace(
            config.base,
            checkpoint=Path(config.base.checkpoint).name,
            diffusion_model=Path(config.base.diffusion_model).name,
            text_encoder=tuple(Path(name).name for name in config.base.text_encoder),
            vae=Path(config.base.vae).name,
            control_net=Path(config.base.control_net).name,
        ),
    )
    return to_tables(hidden)


def _trigger(base: Base, cohorts: Sequence[str]) -> str:
    from ..ccm.cohorts import Cohort

    return base.prompt_for(Cohort(cohorts[0]) if cohorts else None)


def _data_hash(records: Sequence[Record]) -> str:
    """Of the contents and cohorts of all pairs, whatever their order, names and splits."""
    pairs = sorted(f"{hash_file(r.frame)} {hash_file(r.mask) if r.mask else ''} {r.cohort}" for r in records)
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()


def _split_hash(named: Mapping[str, Sequence[Record]], salt: str) -> str:
    lines = sorted(
        f"{name} {r.patient} {hash_file(r.frame)}" for name, records in named.items() for r in records
    )
    return hashlib.sha256("\n".join([salt, *lines]).encode()).hexdigest()
