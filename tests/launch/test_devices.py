import os

import pytest

from launch import devices
from launch.devices import slots


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(devices, "_jax_has_cuda", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})


def test_on_cpu_every_core_has_its_worker(two_cores):
    assert [slot.cores for slot in slots()] == [(0,), (1,), (2,), (3,)]


def test_fewer_workers_share_all_cores(two_cores):
    assert [slot.cores for slot in slots(2)] == [(0, 2), (1, 3)]


def test_more_workers_than_cores_are_refused(two_cores):
    with pytest.raises(ValueError, match="--workers 9: this machine has 4 cores"):
        slots(9)


def test_a_run_of_several_devices_gets_neighbouring_gpus(monkeypatch):
    monkeypatch.setattr(devices, "_jax_has_cuda", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices.Path, "glob", lambda self, pattern: [f"nvidia{index}" for index in range(5)])
    assert [dict(slot.environment)["CUDA_VISIBLE_DEVICES"] for slot in slots(devices=2)] == ["0,1", "2,3"]
    assert len(slots()) == 5 and len(slots(1, devices=2)) == 1
    with pytest.raises(ValueError, match="a run takes 8 devices, but this machine has 5 GPUs"):
        slots(devices=8)


def test_more_workers_than_gpus_share_them_and_their_memory(monkeypatch):
    monkeypatch.setattr(devices, "_jax_has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = [dict(slot.environment) for slot in slots(5)]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in found] == ["3", "5", "3", "5", "3"]
    assert {slot["XLA_PYTHON_CLIENT_MEM_FRACTION"] for slot in found} == {"0.300"}  # three of them on one
    assert all("XLA_PYTHON_CLIENT_MEM_FRACTION" not in dict(slot.environment) for slot in slots(2))


def test_gpus_of_one_run_hide_what_they_tell_each_other(monkeypatch):
    monkeypatch.setattr(devices, "_jax_has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    (pair,) = slots(devices=2)
    assert dict(pair.environment) == {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "XLA_FLAGS": "--xla_dump_to=here --xla_gpu_enable_latency_hiding_scheduler=true",
    }


def test_a_core_pretends_to_be_as_many_devices_as_a_run_takes(two_cores, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    environment = dict(slots(1, devices=2)[0].environment)
    assert environment["XLA_FLAGS"] == "--xla_dump_to=here --xla_force_host_platform_device_count=2"
    assert "XLA_FLAGS" not in dict(slots(1)[0].environment)
