"""`python . adapter`: what it prints and how it exits."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, save_adapter
from ccm_pack.ccm.adapter.convert import Target
from ccm_pack.ccm.adapter.dialects import Kind, read_foreign
from ccm_pack.ccm.errors import AdapterError
from ccm_pack.cli import COMMANDS
from ccm_pack.cli.adapter import COMMAND, TARGETS
from safetensors.torch import save_file


def call(*arguments: object) -> int:
    parser = ArgumentParser()
    COMMAND.arguments(parser)
    return COMMAND.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    layer = AdapterLayer(torch.ones(1, 3), torch.ones(2, 1), 1.0)
    save_adapter(tmp_path / "own.safetensors", {"x": layer}, {"x": torch.ones(2, 3)})
    return tmp_path / "own.safetensors"


def test_the_command_is_listed_and_offers_every_format():
    assert COMMAND in COMMANDS and TARGETS == tuple(target.value for target in Target)


def test_inspect_prints_what_the_file_holds(own: Path, capsys: pytest.CaptureFixture[str]):
    assert call("inspect", own) == 0
    assert "kind: plain LoRA" in capsys.readouterr().out


def test_verify_exits_with_zero_for_a_sound_file(own: Path, capsys: pytest.CaptureFixture[str]):
    assert call("verify", own) == 0
    assert capsys.readouterr().out.startswith("pass  1 layers")


def test_verify_exits_with_one_for_a_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_file({"lora_unet_x.lora_up.weight": torch.ones(2, 1)}, tmp_path / "bad.safetensors")
    assert call("verify", tmp_path / "bad.safetensors") == 1
    assert "FAIL  Layer lora_unet_x lacks its down factor" in capsys.readouterr().out


def test_convert_writes_the_file(own: Path, tmp_path: Path):
    assert call("convert", own, tmp_path / "kohya.safetensors", "--to", "kohya") == 0
    assert read_foreign(tmp_path / "kohya.safetensors").kind is Kind.KOHYA


def test_a_missing_file_is_a_matter_of_the_path(tmp_path: Path):
    with pytest.raises(AdapterError, match=r"no adapter file .*none\.safetensors\. Fix: check the path"):
        call("inspect", tmp_path / "none.safetensors")
