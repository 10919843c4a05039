"""The worker as its own process, told to stop by the system's own signal."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from launch.worker import RESUME_ME, _speaker
from scaling.config import Placement, run_id, to_dict
from scaling.data.prepare import prepare
from scaling.record import RunDirectory, read_record, write_config
from scaling.training.loop import train
from tests.launch.tiny import STEP, run_of

ROOT = Path(__file__).parents[2]
QUIET = Placement(tracking="off")  # no checkpoint before a minute: only the signal makes one


@pytest.fixture
def worker(tmp_path):
    """A function that starts a worker on one run and gives its process."""
    started = []

    def start(runs, run, grace_seconds):
        process = subprocess.Popen(
            [sys.executable, "-m", "launch.worker", str(runs), str(tmp_path), "[]"],
            cwd=ROOT,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        placement = to_dict(replace(QUIET, grace_seconds=grace_seconds))
        order = {
            "run_id": run_id(run),
            "keep_tokens": [],
            "placement": placement,
            "patience_seconds": 0.0,
            "store": None,
        }
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def heard_until(process, event):
    """What a worker says up to an event, or to its end."""
    said = []
    for line in process.stdout:
        said.append(json.loads(line)["event"])
        if said[-1] == event:
            break
    return said


def losses(runs, run):
    return pq.read_table(RunDirectory(runs / run_id(run)).curve)["loss"].to_numpy()


@pytest.mark.slow
def test_a_worker_told_to_stop_exits_as_resumable_and_the_run_ends_with_the_same_losses(worker, corpus, tmp_path):
    run = replace(run_of(corpus), tokens=1200 * STEP, data=replace(run_of(corpus).data, max_epochs=1e6))
    store = prepare(run.data, tmp_path, lambda line: None)
    run = replace(run, data=replace(run.data, content=store.manifest.content))
    runs = tmp_path / "runs"
    directory = RunDirectory(runs / run_id(run))
    write_config(directory, run)

    # In time: it says so and leaves a checkpoint. No time at all: it is broken off, as in a step of minutes.
    for grace_seconds, said in ((60.0, ["interrupted", "bye"]), (0.0, [])):
        process = worker(runs, run, grace_seconds)
        assert heard_until(process, "live")[-1] == "live"
        process.send_signal(signal.SIGTERM)
        after = [event for event in heard_until(process, "bye") if event != "live"]
        assert process.wait(60) == RESUME_ME
        assert after == said
        assert not directory.record.exists()
        assert [path for path in directory.checkpoints.iterdir() if path.name.isdigit()]

    process = worker(runs, run, 60.0)
    assert heard_until(process, "done")[-1] == "done"
    process.send_signal(signal.SIGTERM)  # it is idle now: it leaves at once
    assert process.wait(60) == RESUME_ME
    whole = train(run, tmp_path / "whole", store, placement=QUIET)
    record = read_record(directory.record)
    assert record.cost.attempts == 2  # one that is broken off before its first checkpoint leaves no trace
    assert record.heldout == whole.heldout
    losses = [
        pq.read_table(RunDirectory(folder / run_id(run)).curve)["loss"].to_numpy()
        for folder in (runs, tmp_path / "whole")
    ]
    np.testing.assert_array_equal(*losses)


def test_a_launcher_that_listens_no_more_is_no_error(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr(os, "dup", lambda handle: writing)
    say = _speaker()
    say({"event": "live"})
    assert os.read(reading, 100) == b'{"event": "live"}\n'
    os.close(reading)
    say({"event": "live"})  # raised here, it would end a run before its checkpoint
    os.close(writing)
