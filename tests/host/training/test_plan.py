"""The computed memory: sizes are those published, what is kept is near what is measured, and advice fits."""

from __future__ import annotations

import gc
import importlib
import json
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training import config as c
from ccm_pack.training.bases.sizes import SIZES
from ccm_pack.training.plan import GIB, _activations, _outline, check_fits, plan

PARAMETERS = {  # counted on the files of the publishers
    "sd15": 859_520_964,
    "sdxl": 2_567_463_684,
    "flux": 11_901_408_320,
    "qwen-image-edit": 20_430_401_088,
}


def settings(family: str, **tables: dict[str, Any]) -> c.TrainConfig:
    given = {"base": {"family": family, "dtype": "bf16"}, "data": {"path": "."}, "run": {"folder": "."}}
    return c.parse_config(
        {name: {**given.get(name, {}), **tables.get(name, {})} for name in {**given, **tables}}
    )


@pytest.mark.parametrize("family", PARAMETERS)
def test_a_published_base_has_its_published_number_of_parameters(host: Any, family: str):
    assert _outline(settings(family)).parameters == PARAMETERS[family]


def measured(families: Any, config: c.TrainConfig, side: int) -> int:
    """Return the bytes that a forward and backward pass of one sample adds to what is there before it."""
    blocks, memory = (importlib.import_module(f"ccm_pack.training.{name}") for name in ("blocks", "memory"))
    layers = importlib.import_module("ccm_pack.training.layers")
    condition = importlib.import_module("ccm_pack.training.bases").Condition
    base = families.load_in(config.base.family, "bf16")
    tokens = SIZES[config.base.family].text[0]
    prompt = {"cross_attn": torch.randn(1, tokens, 192), "pooled_output": torch.randn(1, 192)}
    channels, *film = base.encode_frames(torch.zeros(1, 64, 64)).shape[1:-2]
    x = torch.randn(1, channels, *film, side, side)
    adapter = replace(config.adapter, targets=base.targets)
    found = blocks.find_blocks(base.network, base.blocks) if config.memory.checkpointing else []
    with layers.inject(base.network, adapter, 0), blocks.lean(found, [], base.device):
        gc.collect()
        with memory.peak_memory(base.device) as before:
            pass
        with memory.peak_memory(base.device) as meter, torch.autocast("cpu", torch.bfloat16):
            output = base.denoised(x, torch.tensor([0.5]), condition((prompt,), ({},)))
            output.float().square().mean().backward()
    return meter.peak - before.peak


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "family", [pytest.param("sd15", marks=pytest.mark.soak), "sdxl", "sd35", "flux", "qwen-image"]
)
def test_what_a_pass_keeps_is_computed_to_within_a_half(families: Any, family: str, checkpointing: bool):
    side = 32
    files = families.config(family, control=False)
    named = {"diffusion_model": files.diffusion_model}
    config = settings(
        family,
        base={"family": family, "dtype": "bf16", **named},
        data={"path": ".", "crop_px": 8 * side},
        adapter={"rank": 4},
        memory={"checkpointing": checkpointing},
    )
    computed = _activations(_outline(config), config, 2)
    assert 0.85 <= computed / measured(families, config, side) <= 1.5


def test_what_cannot_fit_is_refused_with_settings_that_do(host: Any):
    config = settings("flux", optimizer={"batch": 4})
    with pytest.raises(TrainingError, match="memory.checkpointing = true") as refused:
        check_fits(config, 24)
    named = dict(re.findall(r"(\w+\.\w+) = (\S+?)(?=,| it)", str(refused.value)))
    tables: dict[str, dict[str, Any]] = {}
    for key, value in named.items():
        table, _, name = key.partition(".")
        tables.setdefault(table, {})[name] = json.loads(value)
    tables["base"] = {"family": "flux", **tables.get("base", {"dtype": "bf16"})}
    assert plan(settings("flux", **tables)).total <= 24 * GIB


def test_what_never_fits_says_so(host: Any):
    with pytest.raises(TrainingError, match="even with .*memory.offload_blocks = 57 it does not fit"):
        check_fits(settings("flux"), 1)


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd35", "flux", "qwen_image_edit"])
def test_every_configuration_that_ships_fits_a_card_of_40_gb(host: Any, name: str):
    root = importlib.import_module("ccm_pack.host.paths").ROOT
    check_fits(c.read_config(root / "training" / "configs" / f"{name}.toml"), 40)


def test_weights_of_a_byte_take_half_and_offloaded_blocks_none(host: Any):
    full, fp8 = plan(settings("flux")), plan(settings("flux", base={"family": "flux", "dtype": "fp8"}))
    assert full.base == 2 * fp8.base
    away = plan(settings("flux", memory={"offload_blocks": 57}))
    assert away.base < 0.02 * full.base and away.base + away.main_memory == full.base
