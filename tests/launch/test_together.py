"""`scaling train` as two processes on this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.xla import QUICKLY

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_of_the_command_line_train_one_run(corpus, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{taken.getsockname()[1]}"
    options = (
        f"--root {tmp_path} --tracking off --tokens 640 --batch 4 --placement.data 2 --placement.fsdp 2 "
        "--model.dim 16 --model.layers 1 --model.heads 2 --model.context 16 "
        f"--data.source.kind folder --data.source.path {corpus.path} --data.tokenizer bytes --data.vocab 257 "
        "--data.heldout-sequences 4"
    )
    environment = os.environ | {
        "XLA_FLAGS": f"{QUICKLY} --xla_force_host_platform_device_count=2",
        "JAX_COORDINATOR_BIND_ADDRESS": coordinator,
        "SCALING_COORDINATOR": coordinator,
        "SCALING_PROCESSES": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "launch.cli", "train", *options.split()],
            cwd=ROOT,
            env=environment | {"SCALING_PROCESS_ID": str(process)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in (0, 1)
    ]
    try:
        first, second = (process.communicate(timeout=150)[0] for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0], first + second
    assert "finished; record:" in first
    assert "record:" not in second
    assert len(list(tmp_path.glob("runs/*/record.json"))) == len(list(tmp_path.glob("studies/*.json"))) == 1
