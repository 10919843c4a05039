"""What was tracked offline is sent once, and stays where it is when it cannot be sent."""

import os
import socket
import subprocess
import sys

import pytest

from launch import sync_command
from launch.sync_command import is_synced, offline_runs, sync
from scaling.lease import held
from tests.launch import made

# What wandb's client does as far as the command sees it: it marks what it has sent.
CLIENT = """
import pathlib, sys
said = pathlib.Path({said!r})
with said.open("a") as file:
    for path in map(pathlib.Path, sys.argv[1:]):
        file.write(path.name + "\\n")
        (log,) = path.glob("*.wandb")
        if not path.name.endswith("bad"):
            log.with_suffix(".wandb.synced").touch()
    if any(path.endswith("bad") for path in sys.argv):
        sys.exit("wandb: ERROR no such entity")
"""


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """(study, workspace, sent): two offline runs of one run and one of another; sent() lists what the client got."""
    study, workspace = made.launched(tmp_path)
    for run, names in ((study.runs[0], ("1", "2")), (study.runs[3], ("3",))):
        for name in names:
            offline(made.begin(workspace, run, 3), name)
    said, script = tmp_path / "said", tmp_path / "client.py"
    script.write_text(CLIENT.format(said=str(said)))
    monkeypatch.setattr(sync_command, "CLIENT", (sys.executable, str(script)))
    monkeypatch.setattr(sync_command, "_check_reachable", lambda: None)
    return study, workspace, lambda: said.read_text().split() if said.exists() else []


def offline(directory, name):
    folder = directory.path / "wandb" / f"offline-run-{name}"
    folder.mkdir(parents=True)
    (folder / f"run-{name}.wandb").write_text("rows")
    return folder


def run_sync(workspace, *words):
    sync([*words, "--root", str(workspace.root)])


def test_every_attempt_is_sent_once(tracked, capsys):
    _, workspace, sent = tracked
    run_sync(workspace)
    run_sync(workspace, "tiny")
    assert sorted(sent()) == ["offline-run-1", "offline-run-2", "offline-run-3"]
    said = capsys.readouterr().out
    assert "3 offline runs sent, 0 were there already" in said
    assert "nothing to send: 3 offline runs are there already" in said


def test_runs_under_way_and_those_of_other_studies_are_left(tracked, capsys):
    study, workspace, sent = tracked
    offline(made.begin(workspace, study.runs[1], 3), "4")
    other = workspace.runs / "0123456789abcdef" / "wandb" / "offline-run-5"
    other.mkdir(parents=True)
    (other / "run-5.wandb").write_text("rows")
    with held(made.directory(workspace, study.runs[0]).path):
        run_sync(workspace, "tiny")
    assert sorted(sent()) == ["offline-run-3", "offline-run-4"]
    assert "2 more are of runs under way" in capsys.readouterr().out


def test_what_the_client_could_not_send_is_said_and_stays(tracked):
    study, workspace, _ = tracked
    bad = offline(made.directory(workspace, study.runs[3]), "bad")
    with pytest.raises(ValueError, match=r"3 of 4 offline runs sent: .* ended with code 1, .*no such entity.*call it"):
        run_sync(workspace)
    assert (bad / "run-bad.wandb").read_text() == "rows" and not is_synced(bad)
    found, under_way = offline_runs(workspace, None)
    assert (len(found), under_way, sum(map(is_synced, found))) == (4, 0, 3)


def test_a_client_that_hangs_is_ended(tracked, tmp_path, monkeypatch):
    _, workspace, _ = tracked
    monkeypatch.setattr(sync_command, "CLIENT", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(sync_command, "CALL_SECONDS", 0.2)
    monkeypatch.setattr(sync_command, "RUN_SECONDS", 0.0)
    with pytest.raises(ValueError, match="0 of 3 offline runs sent: wandb's client got no further"):
        run_sync(workspace)


def test_without_a_network_there_is_one_sentence_code_2_and_nothing_is_lost(tmp_path):
    study, workspace = made.launched(tmp_path)
    folder = offline(made.begin(workspace, study.runs[0], 3), "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name not in sync_command.PROXIES}
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", "sync", "--root", str(workspace.root)],
        env=environment | {"WANDB_BASE_URL": f"http://127.0.0.1:{port}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("scaling sync: 127.0.0.1 does not answer") and done.stderr.count("\n") == 1
    assert (folder / "run-1.wandb").read_text() == "rows" and not is_synced(folder)
