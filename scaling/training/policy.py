"""Which updates are not taken: those of gradients that are not finite and, by option, of gradients far too long.

A step whose update is not taken leaves parameters and moments as they were,
bit for bit. The decision is made on the device, inside the compiled step, from
the gradient's norm alone: a run that is resumed decides the same.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

NORM_STEPS = 128  # of the running mean of the gradient's norm
LEAST_STEPS = 16  # whose norms are known before any is called a spike


class NormMean(NamedTuple):
    """The running mean of the norms of the gradients that were taken: part of the train state."""

    mean: Array | float
    steps: Array | int  # that are in it


def no_norms() -> NormMean:
    """Before the first step."""
    return NormMean(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))


def take_or_skip(before: Any, after: Any, norm: Array, spike_factor: Array | float) -> tuple[Any, Array]:
    """The train state to go on from, and whether the step was skipped.

    before, after: train states with a field `norms`, a NormMean, or None where
    spikes are not looked for. norm: of the whole gradient, before clipping.
    spike_factor: how many times the mean a norm may be.
    """
    taken = jnp.isfinite(norm)
    if before.norms is not None:
        known = before.norms.steps >= LEAST_STEPS
        taken = taken & ~(known & (norm > spike_factor * before.norms.mean))
        after = after._replace(norms=_with(before.norms, norm))
    return jax.tree.map(lambda old, new: jnp.where(taken, new, old), before, after), ~taken


def _with(norms: NormMean, norm: Array) -> NormMean:
    """A plain mean of the first NORM_STEPS norms, an exponential one from then on."""
    steps = norms.steps + 1
    return NormMean(norms.mean + (norm - norms.mean) / jnp.minimum(steps, NORM_STEPS), steps)
