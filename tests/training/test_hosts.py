"""Two processes on this machine, with four CPU devices each, train one run together."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scaling.config import run_id, to_dict
from scaling.parallel.hosts import DEAD_SECONDS
from scaling.record import RunDirectory, read_record
from scaling.training.loop import train
from tests.training.conftest import QUIET
from tests.xla import QUICKLY

ROOT = Path(__file__).parents[2]
STEPS, TOLD_STEPS = 12, 5  # the second: log_steps of train_on_hosts.py


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def start(run, runs, root):
    """Both processes, first and second."""
    file = runs / "run.json"
    file.write_text(json.dumps(to_dict(run)))
    coordinator = f"127.0.0.1:{free_port()}"
    environment = os.environ | {
        "XLA_FLAGS": f"{QUICKLY} --xla_force_host_platform_device_count=4",
        "JAX_COORDINATOR_BIND_ADDRESS": coordinator,  # else it would listen on all addresses
        "SCALING_COORDINATOR": coordinator,
        "SCALING_PROCESSES": "2",
        "RUN": str(file),
    }
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.train_on_hosts", str(runs), str(root)],
            cwd=ROOT,
            env=environment | {"SCALING_PROCESS_ID": str(process)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in (0, 1)
    ]


def ended(processes, seconds=240):
    """What both printed, and their exit codes; none outlives the test, and no pipe of one is left to a later test."""
    try:
        told = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()
    return told, [process.returncode for process in processes]


@pytest.fixture
def short(pinned):
    run, store = pinned
    return replace(run, batch=8, tokens=STEPS * 8 * run.text), store


def losses(runs, run):
    return pq.read_table(RunDirectory(runs / run_id(run)).curve)["loss"].to_numpy()


def test_two_processes_learn_what_one_learns_and_one_goes_on_from_their_checkpoint(short, root, tmp_path):
    run, store = short
    told, codes = ended(start(run, tmp_path, root))
    assert codes == [0, 0], told[0][1] + told[1][1]
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in told)
    alone = train(run, tmp_path / "alone", store, placement=QUIET)
    expected = losses(tmp_path / "alone", run)
    # float32 sums over the batch in another order: 1e-7 each, carried through some steps.
    np.testing.assert_allclose(losses(tmp_path / "whole", run), expected, rtol=2e-5)
    np.testing.assert_allclose(first["loss"], alone.heldout.loss, rtol=2e-5)
    assert (first["loss"], first["same"], first["stopped"]) == (second["loss"], second["same"], second["stopped"])
    assert first["same"] and first["stopped"]
    assert second["reports"] == []
    folder = RunDirectory(tmp_path / "whole" / run_id(run))
    assert read_record(folder.record).placement["fsdp"] == 2
    assert not folder.live_curve.exists()
    # Told to stop from the start, they trained until they next told each other.
    parts = RunDirectory(tmp_path / "parts" / run_id(run))
    assert sorted(path.name for path in parts.checkpoints.iterdir() if path.is_dir()) == [str(TOLD_STEPS)]
    resumed = train(run, tmp_path / "parts", store, placement=QUIET)
    assert resumed.cost.attempts == 2
    np.testing.assert_allclose(losses(tmp_path / "parts", run), expected, rtol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dead", [0, 1])
def test_a_dead_process_ends_the_other_with_an_error(short, root, tmp_path, dead):
    run, _ = short
    processes = start(replace(run, tokens=1000 * run.tokens, data=replace(run.data, max_epochs=1e4)), tmp_path, root)
    assert "training\n" in iter(processes[0].stdout.readline, "")  # gloo prints too
    processes[dead].kill()
    began = time.monotonic()
    told, codes = ended(processes)
    assert codes[1 - dead] not in (0, None)
    assert re.search("Connection (closed|reset) by peer|fatal errors", told[1 - dead][1]), told[1 - dead][1]
    assert time.monotonic() - began < DEAD_SECONDS + 30  # to notice, and to end
