"""The gradient of a batch, whatever it is divided among: microbatches, and devices that hold parts of everything.

Sums, and not means: parts may differ in how many targets bear loss.

Letters: A microbatches.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import PartitionSpec

from scaling.config import Precision
from scaling.config.precision import eight_bits, type_of
from scaling.models.families import Params
from scaling.parallel.collectives import total
from scaling.parallel.layout import Layout
from scaling.parallel.pipeline import in_parts
from scaling.parallel.tables import axes_of, specs_of
from scaling.parallel.weights import gathered
from scaling.training.losses import Knowledge, Task, Tokens, losses


class Sums(NamedTuple):
    """Over the loss-bearing targets of a batch, or of parts of it."""

    nats: Array
    bearing: Array
    auxiliary: Array
    dropped: Array


def gradients(
    task: Task,
    precision: Precision,
    layout: Layout,
    params: Params,
    tokens: Tokens,
    knowledge: Knowledge,
    smoothing: Array | float,
) -> tuple[Params, Sums]:
    """Gradient of the summed loss, and the sums, over equal microbatches and over all devices, in float32."""

    def summed(params: Params, part: Tokens) -> tuple[Array, Sums]:
        found = losses(task, cast(params, precision), part, knowledge, layout, eight_bits(precision))
        nats, bearing = jnp.sum(found.nats_BK), jnp.sum(found.weights_BK)
        learned = nats + found.auxiliary * jax.lax.stop_gradient(bearing)
        if task.smoothed:
            learned = learned + smoothing * found.smoothing
        # Means of a part, weighted by its targets, become sums like the rest.
        sums = Sums(nats, bearing, found.auxiliary * bearing, found.dropped * bearing)
        # What several devices compute alike counts once.
        return learned / found.copies, jax.tree.map(lambda x: x / found.copies, sums)

    gradient = jax.grad(summed, has_aux=True)
    whole, back = (params, lambda grads: grads) if layout.zero == 3 else _gathered_once(params, layout)
    if layout.microbatches == 1 or layout.pipe > 1:
        grads, sums = gradient(whole, tokens)
        grads = back(grads)
    else:
        each = (lambda params, part: _first(back, gradient(params, part))) if layout.zero == 2 else gradient
        grads, sums = _accumulated(each, whole, jax.tree.map(partial(in_parts, layout=layout), tokens))
        grads = grads if layout.zero == 2 else back(grads)
    return _over_devices(grads, layout), jax.tree.map(lambda x: total(x, layout.axes, layout), sums)


def _gathered_once(params: Params, layout: Layout) -> tuple[Params, Callable]:
    """Parameters made whole before any microbatch, and the way back of their gradients."""
    whole, back = jax.vjp(lambda params: gathered(params, layout), params)
    return whole, lambda grads: back(grads)[0]


def _first(function: Callable, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return function(pair[0]), pair[1]


def _accumulated(gradient: Callable, params: Params, parts_A: Tokens) -> tuple[Params, Sums]:
    def add(total: Any, part: Tokens) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(params, part)), None

    first = jax.tree.map(lambda x: x[0], parts_A)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, params, first))
    return jax.lax.scan(add, zero, parts_A)[0]


def _over_devices(grads: Params, layout: Layout) -> Params:
    """Gradients summed over the devices that hold the same parameters."""
    if not layout.axes:
        return grads

    def over(partition: PartitionSpec, grad: Array) -> Array:
        return total(grad, tuple(axis for axis in layout.axes if axis not in axes_of(partition)), layout)

    return jax.tree.map(over, specs_of(grads, layout), grads)


def norm(grads: Params, layout: Layout) -> Array:
    """Global norm of gradients of which each device holds its parts."""
    if not layout.axes:
        return optax.tree.norm(grads)

    def squared(partition: PartitionSpec, grad: Array) -> Array:
        return jnp.sum(jnp.square(grad)) * layout.ways(*axes_of(partition)) / layout.devices

    parts = jax.tree.leaves(jax.tree.map(squared, specs_of(grads, layout), grads))
    return jnp.sqrt(total(sum(parts), layout.axes, layout))


def cast(params: Params, precision: Precision) -> Params:
    """Parameters in the precision of the compute; norms and the loss return to float32 on their own."""
    return jax.tree.map(lambda p: p.astype(type_of(precision)), params)
