"""Who belongs together, as the environment tells it; tests/training/test_hosts.py joins real processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from scaling.parallel import hosts
from scaling.parallel.hosts import check_alike, cluster, everyones, firsts, is_first, join, several

ROOT = Path(__file__).parents[2]
OURS = {"SCALING_COORDINATOR": "10.0.0.1:1234", "SCALING_PROCESSES": "4", "SCALING_PROCESS_ID": "3"}
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[01-04]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
PREFIXES = ("SCALING_", "SLURM_", "OMPI_", "TPU_", "MEGASCALE_", "KUBERNETES_", "JOB_COMPLETION", "JAX_LOCAL")


@pytest.fixture
def environment(monkeypatch):
    """Sets variables in an environment that says nothing else."""
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)

    def say(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return say


@pytest.fixture
def asked(monkeypatch):
    """What jax.distributed.initialize is asked for; nothing is joined."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **arguments: calls.append(arguments))
    monkeypatch.setattr(jax.config, "update", lambda name, value: None)
    return calls


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        (OURS, "SCALING_PROCESSES"),
        (SLURM, "SLURM"),
        (SLURM | {"SLURM_NTASKS": "1"}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, None),  # a batch script, outside srun
        (SLURM | {"SCALING_PROCESSES": "1"}, None),
        (SLURM | OURS, "SCALING_PROCESSES"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "Open MPI"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "Kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # a pod, not of an indexed job
        ({"TPU_WORKER_HOSTNAMES": "a,b", "JAX_PLATFORMS": "tpu"}, "TPU"),
        ({"TPU_WORKER_HOSTNAMES": "a", "JAX_PLATFORMS": "tpu"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "JAX_PLATFORMS": "cpu"}, None),
    ],
)
def test_the_environment_says_whether_there_are_several(environment, values, expected):
    environment(**values)
    assert cluster() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"SCALING_COORDINATOR": ""}, "SCALING_COORDINATOR is not set, but SCALING_PROCESSES is"),
        ({"SCALING_PROCESS_ID": ""}, "SCALING_PROCESS_ID is not set, but SCALING_COORDINATOR is"),
        ({"SCALING_PROCESSES": "two"}, "SCALING_PROCESSES='two' is no whole number"),
        ({"SCALING_PROCESS_ID": "-1"}, "SCALING_PROCESS_ID='-1' is no whole number"),
        ({"SCALING_PROCESS_ID": "4"}, "SCALING_PROCESS_ID=4 with SCALING_PROCESSES=4"),
        ({"SCALING_COORDINATOR": "node1"}, "SCALING_COORDINATOR='node1' is no HOST:PORT"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(environment, values, message):
    environment(**OURS | values)
    with pytest.raises(ValueError, match=f"{message}.*SCALING_PROCESS_ID=0 to N-1"):
        cluster()


def test_a_schedulers_number_that_is_none_is_named(environment):
    environment(**SLURM | {"SLURM_NTASKS": "4(x2)"})
    with pytest.raises(ValueError, match=r"SLURM_NTASKS='4\(x2\)' is no whole number"):
        cluster()


def test_explicit_variables_are_handed_on_and_nothing_else_is_looked_for(environment, asked):
    environment(**SLURM | OURS)
    join(5)
    (found,) = asked
    assert (found["coordinator_address"], found["num_processes"], found["process_id"]) == ("10.0.0.1:1234", 4, 3)
    assert found["cluster_detection_method"] == "deactivate"
    assert found["initialization_timeout"] > 5  # this module ends the process first


def test_a_single_process_joins_nothing(environment, asked):
    join()
    assert asked == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "SLURM_GPUS_ON_NODE": "8"}, list(range(8))),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x4)", "SLURM_GPUS_ON_NODE": "8"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)"}, None),
        (
            {"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "SLURM_GPUS_ON_NODE": "8", "JAX_LOCAL_DEVICE_IDS": "0,1"},
            None,
        ),
    ],
)
def test_a_slurm_task_that_has_a_node_to_itself_takes_all_its_gpus(environment, asked, values, expected):
    environment(**SLURM | values)
    join()
    assert asked[0].get("local_device_ids") == expected
    assert "coordinator_address" not in asked[0]  # JAX finds it


def test_what_jax_cannot_find_is_an_error_that_says_how_to_tell(environment, monkeypatch, asked):
    def unknown(**arguments):
        raise ValueError("coordinator_address should be defined.")

    environment(OMPI_COMM_WORLD_SIZE="2")
    monkeypatch.setattr(jax.distributed, "initialize", unknown)
    with pytest.raises(
        ConnectionError,
        match=r"told by Open MPI did not come together.*should be defined.*SCALING_COORDINATOR=HOST:PORT",
    ):
        join()


def test_a_process_alone_is_the_first_and_hears_itself():
    assert is_first() and not several()
    np.testing.assert_array_equal(everyones(3, True), [[3, 1]])
    assert firsts(7) == 7
    check_alike("run", object)


def test_processes_that_do_not_agree_are_told_which_differs(monkeypatch):
    monkeypatch.setattr(hosts, "everyones", lambda value: np.array([[value], [value], [value + 1]]))
    with pytest.raises(ValueError, match="run and placement: process 2 has another than process 0"):
        check_alike("run and placement", "a run")


def test_a_process_whose_others_never_come_ends():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{taken.getsockname()[1]}"
    told = {"SCALING_COORDINATOR": coordinator, "SCALING_PROCESSES": "2", "SCALING_PROCESS_ID": "0"}
    done = subprocess.run(
        [sys.executable, "-c", "from scaling.parallel.hosts import join; join(2)"],
        cwd=ROOT,
        env=os.environ | told | {"JAX_COORDINATOR_BIND_ADDRESS": coordinator},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("the processes told by SCALING_PROCESSES did not come together (waited for 2 s)")
