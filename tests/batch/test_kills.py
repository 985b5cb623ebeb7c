"""Server and client are killed at random moments; what remains is what an undisturbed run makes.

`python . bench batch` does the same with a real ComfyUI.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_helpers import Server, hashes, rows_of, run, small_plan, to_toml
from ccm_pack.batch import hosts
from ccm_pack.batch import run as batch
from ccm_pack.batch.engines.local import Local
from ccm_pack.batch.making import Maker
from ccm_pack.batch.plan import Plan
from ccm_pack.ccm.dataset.folder import DatasetFolder
from ccm_pack.host import server as host_server
from ccm_pack.host.environment import INSIDE

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("items", "kills"), [(30, 2), pytest.param(300, 10, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_after_kills_of_server_and_client_nothing_is_lost_doubled_or_changed(
    tmp_path: Path, serve: Callable[..., Server], items: int, kills: int
) -> None:
    disturbed, sound = (small_plan(tmp_path / x, (items // 2, items // 2), **LASTING) for x in "ab")
    server = serve("--seconds", "0.05")
    run(sound, [server.address])
    rng = random.Random(items)
    client = start(disturbed, server)
    for number in range(2 * kills):
        wait_for(disturbed, (number + 1) * items // (2 * kills + 2), client)
        time.sleep(rng.uniform(0.0, 0.1))
        if number % 2:
            server.kill()
            server.start()
        else:
            client.kill()
            client.wait()
            client = start(disturbed, server)
    assert client.wait() == 0
    assert hashes(disturbed) == hashes(sound)
    assert len(DatasetFolder(disturbed.folder).done(rehash=True)) == items
    assert len(list((disturbed.folder / "frames").rglob("*"))) == items + 2  # and a folder for each cohort


def test_ctrl_c_finishes_what_runs_and_says_how_to_go_on(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    plan = small_plan(tmp_path, (20, 20))
    client = start(plan, serve("--seconds", "0.1"), stderr=subprocess.PIPE)
    wait_for(plan, 3, client)
    client.send_signal(signal.SIGINT)
    assert client.stderr is not None
    said = client.stderr.read().decode()
    assert client.wait() == 130
    assert "Finishing what runs" in said and "The same command goes on" in said
    kept = hashes(plan)
    assert 3 <= len(kept) < 40 and (plan.folder / "README.md").is_file()
    assert {row["status"] for row in rows_of(plan)} == {"done"}


@pytest.mark.parametrize("kill", [os.killpg, os.kill], ids=["server and guard", "guard alone"])
def test_a_server_of_our_own_is_started_again_when_it_dies_and_gone_in_the_end(
    tmp_path: Path, comfy: Path, monkeypatch: pytest.MonkeyPatch, kill: Callable[[int, int], None]
) -> None:
    monkeypatch.setattr(host_server, "has_gpu", lambda: False)
    plan = small_plan(tmp_path, (10, 10), **LASTING)
    ports: list[str] = []

    def engage(maker: Maker) -> Local:
        engine = Local(maker, [])
        own = hosts.OwnHost(tmp_path / "state")
        ports.append(own.address.rpartition(":")[2])
        engine.hosts.append(engine.stack.enter_context(own))
        threading.Thread(target=kill_once, args=(kill, plan, own), daemon=True).start()
        return engine

    assert batch.run(plan, engage).frames == 20
    assert len(hashes(plan)) == 20
    host_server.check_port(int(ports[0]))


def kill_once(kill: Callable[[int, int], None], plan: Plan, own: hosts.OwnHost) -> None:
    """SIGKILL a server once some frames are there."""
    while not (plan.folder / "manifest.jsonl").is_file() or len(rows_of(plan)) < 5:
        time.sleep(0.01)
    kill(own.pid, signal.SIGKILL)


LASTING = {"servers": {"answer_s": 5.0, "stall_s": 20.0, "patience_s": 60.0}}


def start(plan: Plan, server: Server, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    plan.path.write_text(to_toml(plan), "utf-8")
    command = [sys.executable, str(ROOT), "batch", str(plan.path), "--server", server.address]
    environ = {**os.environ, INSIDE: sys.executable}
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=stderr)


def wait_for(plan: Plan, count: int, client: subprocess.Popen[bytes]) -> None:
    while not (plan.folder / "manifest.jsonl").is_file() or len(rows_of(plan)) < count:
        assert client.poll() is None, "the client ended too soon"
        time.sleep(0.02)
