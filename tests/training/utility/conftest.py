"""Small phantom studies: a few patients stand for real ones, frames of others for synthetic ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ccm_pack.training.data.phantoms import PhantomRequest, write_phantoms
from ccm_pack.training.utility.config import UtilityConfig, parse_utility

SMALL = {"um_per_px": 400 / 96, "side_px": 96, "test_share": 0.9}
QUICK = {"steps": 80, "batch": 4, "crop_px": 48, "classifier_steps": 80, "classifier_batch": 8}

MakeConfig = Callable[..., UtilityConfig]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `real`, 30 patients of 2 frames, and `synthetic`, 120 frames of others."""
    root = tmp_path_factory.mktemp("utility")
    write_phantoms(PhantomRequest(patients=30, frames=2, seed=0, size_px=192), root / "real")
    write_phantoms(PhantomRequest(patients=120, frames=1, seed=1, size_px=192), root / "synthetic")
    return root


@pytest.fixture(scope="module")
def configured(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    """Return the configuration of a small study; keys are given as `table={"key": value}`."""
    folder = tmp_path_factory.mktemp("studies")

    def make(**tables: dict[str, Any]) -> UtilityConfig:
        data = {"real": str(phantoms / "real"), "synthetic": str(phantoms / "synthetic"), **SMALL}
        whole = {
            "data": data | tables.get("data", {}),
            "training": QUICK | tables.get("training", {}),
            "run": {"folder": str(folder / "run"), "resamples": 500} | tables.get("run", {}),
        }
        return parse_utility(whole, "test")

    return make
