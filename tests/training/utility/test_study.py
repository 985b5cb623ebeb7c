"""A whole study on phantoms: what it shows, what it must not show, and that a stopped one goes on."""

from __future__ import annotations

import json
from dataclasses import replace
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


def gains(config, workers: int | None = None) -> dict[str, str]:
    """Run a study, and return the verdict on real + synthetic against real of each endpoint."""
    study(config, workers)
    found = json.loads((Path(config.run.folder) / "utility.json").read_text("utf-8"))
    rows = [
        row for row in found["differences"] if (row["arm"], row["against"]) == ("real + synthetic", "real")
    ]
    return {row["endpoint"]: row["verdict"] for row in rows}


@pytest.mark.parametrize(("shuffled", "verdict"), [(False, "shown"), (True, "not shown")])
def test_good_synthetic_frames_show_a_gain_and_shuffled_ones_none(
    configured, tmp_path: Path, shuffled: bool, verdict: str
) -> None:
    """Five seeds of all arms; the classifier is left to the long form."""
    config = configured(
        data={"shuffle_labels": shuffled},
        training={"tasks": ["segmentation"], "steps": 120},
        run={"folder": str(tmp_path / "run")},
    )
    assert gains(config, workers=1) == {"centre_line_f1": verdict, "miou": verdict}


@pytest.fixture(scope="module")
def brief(configured):
    """A study of two steps and two seeds, done once."""
    config = configured(data={"test_share": 0.5}, training=BRIEF, run={"seeds": 2})
    study(config, workers=2)
    return config


def test_a_stopped_study_goes_on_and_ends_alike(brief, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(brief.run.folder)
    names = ("utility.txt", "utility.json")
    whole = [(folder / name).read_bytes() for name in names]
    for file in sorted((folder / "trials").iterdir())[::3]:
        file.unlink()
    trained = []
    original = module.run_trial
    monkeypatch.setattr(module, "run_trial", lambda *trial: trained.append(trial) or original(*trial))
    study(brief, workers=1)
    assert len(trained) == 3 and [(folder / name).read_bytes() for name in names] == whole


def test_a_training_gives_the_same_bits_again(brief) -> None:
    data = load_study(brief)
    for one, same in zip(
        vars(run_trial(Arm.ADDED, 3, brief, data)).values(),
        vars(run_trial(Arm.ADDED, 3, brief, data)).values(),
        strict=True,
    ):
        assert np.array_equal(one, same)


def test_another_study_in_the_folder_is_refused(brief) -> None:
    for changed, said in (
        (replace(brief, training=replace(brief.training, steps=3)), "training.steps is 3.*began with 2"),
        (replace(brief, data=replace(brief.data, shuffle_labels=True)), "data.shuffle_labels is True"),
    ):
        with pytest.raises(TrainingError, match=said):
            study(changed, workers=1)


def test_no_patient_is_named_in_the_results(brief) -> None:
    folder = Path(brief.run.folder)
    results = (folder / "utility.json").read_text("utf-8") + (folder / "utility.txt").read_text("utf-8")
    patients = json.loads((folder / "manifest.json").read_text("utf-8"))["data"]["patients"]
    assert len(patients["train"]) == len(patients["test"]) == 15
    assert not any(patient in results for patient in patients["test"])


def test_the_results_hold_what_a_report_needs(brief) -> None:
    from ccm_pack.ccm.report.utility import read_utility as read_results

    found = read_results(Path(brief.run.folder) / "utility.json")
    assert found.arms == tuple(map(str, Arm)) and (found.seeds, found.patients) == (2, 15)
    assert len(found.differences) == 4 * 4 and found.is_try


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
