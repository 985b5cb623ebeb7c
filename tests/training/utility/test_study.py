"""A whole study on phantoms: what it shows, what it must not show, and that a stopped one goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ccm_pack import cli
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.utility import study as module
from ccm_pack.training.utility.arms import Arm
from ccm_pack.training.utility.config import read_utility
from ccm_pack.training.utility.data import load_study
from ccm_pack.training.utility.study import study
from ccm_pack.training.utility.trial import run_trial

ROOT = Path(__file__).resolve().parents[3]
BRIEF = {"steps": 2, "classifier_steps": 2}


def gains(config) -> dict[str, str]:
    """Run a study, and return the verdict on real + synthetic against real of each endpoint."""
    study(config)
    found = json.loads((Path(config.run.folder) / "utility.json").read_text("utf-8"))
    rows = [
        row for row in found["differences"] if (row["arm"], row["against"]) == ("real + synthetic", "real")
    ]
    return {row["endpoint"]: row["verdict"] for row in rows}


def test_good_synthetic_frames_show_a_gain_and_shuffled_ones_none(configured) -> None:
    good = gains(configured())
    assert good["centre_line_f1"] == good["miou"] == "shown"
    shuffled = gains(
        configured(data={"shuffle_labels": True}, run={"folder": configured().run.folder + "_shuffled"})
    )
    assert set(shuffled.values()) == {"not shown"}


@pytest.fixture
def brief(configured):
    return configured(training=BRIEF)


def test_a_stopped_study_goes_on_and_ends_alike(
    brief, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = study(brief, workers=1)
    folder = Path(brief.run.folder)
    before = (folder / "utility.json").read_bytes()
    for file in sorted((folder / "trials").iterdir())[::3]:
        file.unlink()
    trained = []
    original = module.run_trial
    monkeypatch.setattr(module, "run_trial", lambda *trial: trained.append(trial) or original(*trial))
    assert study(brief, workers=1) == whole
    assert len(trained) == 7 and (folder / "utility.json").read_bytes() == before


def test_a_training_gives_the_same_bits_again(brief) -> None:
    data = load_study(brief)
    for one, same in zip(
        vars(run_trial(Arm.ADDED, 3, brief, data)).values(),
        vars(run_trial(Arm.ADDED, 3, brief, data)).values(),
        strict=True,
    ):
        assert np.array_equal(one, same)


def test_another_study_in_the_folder_is_refused(brief, configured) -> None:
    study(brief, workers=1)
    with pytest.raises(TrainingError, match="training.steps is 3.*began with 2"):
        study(configured(training=BRIEF | {"steps": 3}), workers=1)
    with pytest.raises(TrainingError, match="data.shuffle_labels is True"):
        study(configured(training=BRIEF, data={"shuffle_labels": True}), workers=1)


def test_no_patient_is_named_in_the_results(brief) -> None:
    study(brief, workers=1)
    folder = Path(brief.run.folder)
    results = (folder / "utility.json").read_text("utf-8") + (folder / "utility.txt").read_text("utf-8")
    patients = json.loads((folder / "manifest.json").read_text("utf-8"))["data"]["patients"]
    assert len(patients["train"]) == 3 and len(patients["test"]) == 27
    assert not any(patient in results for patient in patients["test"])


def test_the_command_prints_the_table_and_says_where_it_lies(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "try.toml").write_text(
        f'[data]\nreal = "{phantoms / "real"}"\nsynthetic = "{phantoms / "synthetic"}"\ntest_share = 0.9\n'
        f"um_per_px = 4.1667\nside_px = 96\n[training]\ntasks = ['classification']\nclassifier_steps = 2\n"
        f'[run]\nfolder = "{tmp_path / "run"}"\nseeds = 2\n',
        "utf-8",
    )
    monkeypatch.setattr(cli, "_run", lambda command, options, arguments: command.run(options))
    assert cli.main(["utility", str(tmp_path / "try.toml")]) == 1
    assert "--try" in capsys.readouterr().err
    assert cli.main(["utility", str(tmp_path / "try.toml"), "--try"]) == 0
    told = capsys.readouterr().out
    assert "A try with 2 seeds: no claim can rest on it." in told and "utility.json" in told


@pytest.mark.soak
def test_the_demonstration_shows_a_gain_and_the_negative_control_none(phantoms: Path, tmp_path: Path) -> None:
    """The configuration that ships, with the phantoms that its comment asks for."""
    from ccm_pack.training.data.phantoms import PhantomRequest, write_phantoms

    write_phantoms(PhantomRequest(patients=60, frames=2), tmp_path / "real")
    write_phantoms(PhantomRequest(patients=240, frames=1, seed=1), tmp_path / "synthetic")
    shipped = ROOT / "training/configs/utility/phantoms.toml"
    frames = (f"data.real={tmp_path / 'real'}", f"data.synthetic={tmp_path / 'synthetic'}")
    good = gains(read_utility(shipped, (*frames, f"run.folder={tmp_path / 'good'}")))
    assert good["centre_line_f1"] == good["miou"] == "shown"
    settings = (*frames, f"run.folder={tmp_path / 'shuffled'}", "data.shuffle_labels=true")
    assert set(gains(read_utility(shipped, settings)).values()) == {"not shown"}
