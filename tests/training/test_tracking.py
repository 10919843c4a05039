import logging
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import wandb

from scaling import provenance
from scaling.config import run_id
from scaling.training.loop import train
from scaling.training.tracking import Tracker
from tests.training.conftest import QUIET

WANDB = Path(sys.executable).parent / "wandb"


def test_an_offline_run_is_read_back_by_wandbs_own_reader(pinned, tmp_path):
    run, store = pinned
    record = train(run, tmp_path, store, placement=replace(QUIET, tracking="offline", log_steps=10))
    files = list((tmp_path / run_id(run)).glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 1
    done = subprocess.run([WANDB, "leet", "inspect", "--json", files[0]], capture_output=True, text=True, check=True)
    assert f"{run_id(run)}-1" in done.stdout
    assert str(record.heldout.loss)[:8] in done.stdout


def test_a_tracking_failure_is_logged_and_stops_nothing(pinned, tmp_path, monkeypatch, caplog):
    run, store = pinned

    def broken(**settings):
        raise ConnectionError("no network")

    monkeypatch.setattr(wandb, "init", broken)
    with caplog.at_level(logging.WARNING):
        record = train(run, tmp_path, store, placement=replace(QUIET, tracking="offline"))
    assert record.status == "finished"
    assert "tracking stopped at start (ConnectionError: no network); training goes on" in caplog.text


def test_tracking_that_is_off_writes_nothing(run, tmp_path):
    tracker = Tracker(run, tmp_path, "off", attempt=1)
    tracker.log({"step": 1, "loss": 2.0})
    tracker.finish({"status": "finished"})
    assert list(tmp_path.iterdir()) == []


def test_no_file_of_a_run_holds_a_secret(pinned, tmp_path, monkeypatch):
    """A token in the environment, in a remote's address, in an untracked .env and in the command."""
    secret = "5ec7e7" + "0" * 34
    run, store = pinned
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "code.py").write_text("one = 1\n")
    for arguments in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "first"),
        ("remote", "add", "origin", f"https://me:{secret}@example.org/x.git"),
    ):
        subprocess.run(["git", *arguments], cwd=checkout, check=True)
    (checkout / "code.py").write_text(f"key = '{secret}'\n")
    (checkout / ".env").write_text(f"TOKEN={secret}\n")
    monkeypatch.setattr(provenance, "_folder", lambda: checkout)
    monkeypatch.chdir(checkout)
    for name in ("WANDB_API_KEY", "HF_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv(provenance.COMMAND, f"scaling train --key {secret}")
    monkeypatch.setattr(sys, "argv", ["scaling", "--key", secret])
    for cached in (provenance.provenance, provenance._source):
        cached.cache_clear()
    train(run, tmp_path / "runs", store, placement=replace(QUIET, tracking="offline"))
    for cached in (provenance.provenance, provenance._source):
        cached.cache_clear()
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert {"record.json", "changes.patch"} <= {path.name for path in files}
    assert any(path.suffix == ".wandb" for path in files)
    assert [path.name for path in files if secret.encode() in path.read_bytes()] == []
    assert "+key = '***'" in (tmp_path / "runs" / run_id(run) / "changes.patch").read_text()


def test_runs_of_a_study_are_one_group_with_its_name_and_their_id_as_tags(run, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(wandb, "init", lambda **settings: given.update(settings))
    monkeypatch.setenv(provenance.STUDY, "chinchilla-" + "x" * 80)
    Tracker(run, tmp_path, "offline", attempt=2)
    assert given["group"] == "chinchilla-" + "x" * 80 and given["name"] == f"{run_id(run)}-2"
    assert given["tags"] == ["chinchilla-" + "x" * 53, run_id(run), "next_token"]  # a tag has at most 64 letters
    monkeypatch.delenv(provenance.STUDY)
    Tracker(run, tmp_path, "offline", attempt=1)
    assert given["group"] == run_id(run) and given["tags"] == [run_id(run), "next_token"]


def test_tensorboard_files_hold_every_logged_number_of_every_attempt(pinned, tmp_path):
    pytest.importorskip("tensorboardX")
    run, store = pinned
    record = train(run, tmp_path, store, placement=replace(QUIET, tracking="tensorboard", log_steps=10))
    Tracker(run, tmp_path / run_id(run), "tensorboard", attempt=2).finish({"status": "finished"})
    folder = tmp_path / run_id(run) / "tensorboard"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]
    losses = scalars(folder / "1", "loss")
    assert [step for step, _ in losses] == [10, 20, 30]
    ((_, heldout),) = scalars(folder / "1", "final/heldout_loss")
    assert heldout == pytest.approx(record.heldout.loss, rel=1e-6)  # kept as float32


def test_a_missing_tensorboard_writer_is_named_and_stops_nothing(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with caplog.at_level(logging.WARNING):
        tracker = Tracker(run, tmp_path, "tensorboard", attempt=1)
    tracker.log({"step": 1, "loss": 2.0})
    tracker.finish({"status": "finished"})
    assert "pip install scaling-lab[tensorboard]); training goes on" in caplog.text
    assert list(tmp_path.iterdir()) == []


def scalars(folder, name):
    """(step, value) of one name in the event files of a folder, read record by record as TFRecord has them."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found += [(event.step, value.simple_value) for value in event.summary.value if value.tag == name]
            data = data[12 + size + 4 :]
    return found
