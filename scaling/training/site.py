"""Where a run is trained: its layout, the mesh of devices, and how its state comes there and goes into a checkpoint.

A checkpoint holds the state in one form, whatever the mesh: so it is read
onto any other.
"""

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from scaling.config import Placement, RunConfig
from scaling.config.placement import AXES
from scaling.parallel.hosts import several
from scaling.parallel.layout import ALONE, Layout, layout_of
from scaling.parallel.mesh import mesh_of, shardings
from scaling.parallel.weights import staged, unstaged
from scaling.training.losses import Task, task_of
from scaling.training.step import TrainState, compiled_init, state_specs


class Site(NamedTuple):
    """A layout and its devices; no mesh where it is one device."""

    layout: Layout
    mesh: Mesh | None


HERE = Site(ALONE, None)  # one device


def site_of(run: RunConfig, placement: Placement) -> Site:
    """The devices that a placement asks for. Raises ValueError where they cannot train the run.

    On CPU, whose devices share the same cores, data=-1 is one copy: more would
    gain nothing. Several processes must use all devices: each has some.
    """
    named = 1
    for axis in AXES[1:]:
        named *= getattr(placement, axis)
    if jax.default_backend() == "cpu" and not several():
        named *= max(1, placement.data)
        if named > jax.device_count():
            raise ValueError(
                f"the placement needs {named} devices, but JAX sees {jax.device_count()}; to try a mesh on CPU set "
                f"XLA_FLAGS=--xla_force_host_platform_device_count={named}"
            )
        layout = layout_of(run, placement, named)
    else:
        layout = layout_of(run, placement, jax.device_count())
    return Site(layout, mesh_of(layout) if layout.devices > 1 else None)


def fresh_state(run: RunConfig, site: Site = HERE) -> TrainState:
    return compiled_init(task_of(run), site.layout, site.mesh)(run.seed)


def checkpoint_shapes(run: RunConfig, site: Site = HERE) -> TrainState:
    """The leaves of a run's state as a checkpoint holds them, and where on the mesh they are read to."""
    task = task_of(run)
    shapes = jax.eval_shape(compiled_init(task), 0)
    if site.mesh is None:
        return shapes
    whole = shardings(site.mesh, state_specs(task, replace(site.layout, repeats=1)))
    return jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes, whole)


def from_checkpoint(run: RunConfig, state: TrainState, site: Site) -> TrainState:
    """What was read, as this site's step takes it."""
    return state if site.layout.repeats == 1 else _recut(task_of(run), site)[0](state)


def for_checkpoint(run: RunConfig, state: TrainState, site: Site) -> TrainState:
    """The state as every site reads it."""
    return state if site.layout.repeats == 1 else _recut(task_of(run), site)[1](state)


@cache
def _recut(task: Task, site: Site) -> tuple[Any, Any]:
    """To the form of a circular pipeline, and back."""
    layout = site.layout
    cut = shardings(site.mesh, state_specs(task, layout))
    joined = shardings(site.mesh, state_specs(task, replace(layout, repeats=1)))
    return (
        jax.jit(lambda state: staged(state, layout), out_shardings=cut),
        jax.jit(lambda state: unstaged(state, layout), out_shardings=joined),
    )
