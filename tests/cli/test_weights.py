"""The list of weight files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.errors import WeightsError
from ccm_pack.cli import main
from ccm_pack.cli.weights import count_parameters
from safetensors.numpy import save_file


def test_parameters_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a": np.zeros((2, 3), np.float32), "b": np.zeros((5,), np.float16)}, file, {"note": "x"})
    assert count_parameters(file) == 11


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_a_file_that_is_cut_short_is_damaged(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a": np.zeros((2, 3), np.float32)}, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="damaged"):
        count_parameters(file)


def test_a_folder_without_weights_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert main(["weights", "--folder", str(folder)]) == 1
        told = capsys.readouterr()
        assert told.out == "" and f"There are no .safetensors files in {folder}. Fix:" in told.err
