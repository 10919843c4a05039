"""The table of hardware: what it refuses, and the devices that plans are asked for."""

from dataclasses import replace

import pytest

from scaling.hardware import HARDWARE, hardware_of

DEVICE = HARDWARE["h100-sxm"]


@pytest.mark.parametrize(
    "name", ["float32_flops", "memory_bandwidth", "memory_bytes", "devices_per_node", "network_bandwidth"]
)
def test_hardware_without_a_positive_rate_is_refused(name):
    with pytest.raises(ValueError, match=f"Hardware 'h100-sxm': {name}=0; give a positive number"):
        replace(DEVICE, **{name: 0})


@pytest.mark.parametrize("name", ["watts", "dollars_per_hour"])
def test_hardware_with_a_negative_price_is_refused(name):
    with pytest.raises(ValueError, match=f"Hardware 'h100-sxm': {name}=-1; give zero or more"):
        replace(DEVICE, **{name: -1})


def test_hardware_is_named_by_its_key():
    assert {"cpu-core", "a100-80gb", "h100-sxm", "h200-sxm"} <= HARDWARE.keys()
    assert {"tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"} <= HARDWARE.keys()
    assert all(name == device.name for name, device in HARDWARE.items())


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01])
def test_hardware_with_an_efficiency_that_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match=f"Hardware 'h100-sxm': efficiency={share}"):
        replace(DEVICE, efficiency=share)


def test_the_network_between_nodes_is_slower_than_the_links_within():
    assert all(device.network_bandwidth < device.link_bandwidth for device in HARDWARE.values())


def test_devices_are_known_by_the_names_that_jax_gives_them():
    assert hardware_of("TPU v5 lite").name == "tpu-v5e"
    assert hardware_of("TPU v6 lite").name == "tpu-v6e"
    assert hardware_of("NVIDIA H200").name == "h200-sxm"
    assert hardware_of("abacus") is None
