import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from scaling.parallel.layout import Layout
from scaling.parallel.mesh import mesh_of
from scaling.parallel.rows import Rows


class Half:
    """A sharding of which this process holds some devices only."""

    def __init__(self, sharding, devices):
        self._sharding, self._devices = sharding, devices

    def addressable_devices_indices_map(self, shape):
        places = self._sharding.devices_indices_map(shape)
        return {device: places[device] for device in self._devices}


def sharding_of(layout, axes):
    return NamedSharding(mesh_of(layout), PartitionSpec(axes))


@pytest.mark.parametrize(
    ("layout", "axes"),
    [(Layout(data=8), ("data",)), (Layout(data=2, fsdp=2, tensor=2), ("data", "fsdp")), (Layout(tensor=8), None)],
)
def test_a_process_with_all_devices_makes_every_row_once(layout, axes):
    rows = Rows(8, sharding_of(layout, axes))
    np.testing.assert_array_equal(rows.mine, np.arange(8))
    whole = np.arange(24).reshape(8, 3)
    joined = rows.joined(whole)
    assert joined.sharding.is_equivalent_to(sharding_of(layout, axes), 2)
    np.testing.assert_array_equal(joined, whole)


def test_the_rows_of_two_halves_are_the_batch_and_each_device_gets_its_own():
    sharding = sharding_of(Layout(data=4, tensor=2), ("data",))
    devices = sharding.mesh.devices.flatten()
    first, second = (Rows(8, Half(sharding, part)).mine for part in (devices[:4], devices[4:]))
    np.testing.assert_array_equal(first, [0, 1, 2, 3])
    np.testing.assert_array_equal(second, [4, 5, 6, 7])
    # Devices of one process need not be neighbours.
    np.testing.assert_array_equal(Rows(8, Half(sharding, devices[[0, 7]])).mine, [0, 1, 6, 7])
    for shard in Rows(8, sharding).joined(np.arange(8)).addressable_shards:
        place = int(np.flatnonzero(devices == shard.device)[0]) // 2
        np.testing.assert_array_equal(shard.data, [2 * place, 2 * place + 1])


def test_rows_lie_on_the_devices_of_the_mesh():
    rows = Rows(8, sharding_of(Layout(data=4), ("data",)))
    assert rows.joined(np.zeros(8)).sharding.device_set == set(jax.devices()[:4])
