"""The mesh of devices that a layout names, and how arrays lie on it."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scaling.parallel.layout import Layout


def mesh_of(layout: Layout, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The layout's devices; axes of size one are left out.

    On accelerators JAX orders the devices so that the last axes lie on the
    fastest links. Raises where there are fewer devices than the layout needs.
    """
    given = jax.devices() if devices is None else list(devices)
    if len(given) < layout.devices:
        raise ValueError(f"the layout needs {layout.devices} devices, there are {len(given)}")
    shape = tuple(getattr(layout, axis) for axis in layout.axes)
    if devices is None and len(given) == layout.devices:
        return jax.make_mesh(shape, layout.axes, axis_types=(jax.sharding.AxisType.Auto,) * len(shape))
    return Mesh(np.array(given[: layout.devices]).reshape(shape), layout.axes)


def shardings(mesh: Mesh, specs: Any) -> Any:
    """A tree of partitions as a tree of shardings."""
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda spec: isinstance(spec, PartitionSpec)
    )
