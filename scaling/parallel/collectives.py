"""What devices tell each other inside a step.

A step runs as one program on every device (`jax.shard_map`), on arrays of its
own; whatever devices exchange is called for here and nowhere else. One rule
makes gradients right: what is minimised is the sum, over all devices, of what
each computes, and what k devices compute alike counts a k-th on each. The
transposition of every function here keeps that rule.

Where an axis has one device, all of these do nothing.

Letters: M tokens of a device's part of the batch (all of `tensor`'s), D width.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from scaling.parallel.layout import BATCH_AXES, Layout


def gather_rows(x_MD: Array, layout: Layout) -> Array:
    """All tokens, of which each device of `tensor` has a part between blocks."""
    return jax.lax.all_gather(x_MD, "tensor", axis=0, tiled=True) if layout.tensor > 1 else x_MD


def scatter_rows(y_MD: Array, layout: Layout) -> Array:
    """The sum over `tensor` of parts of a result, of which each device keeps its tokens."""
    if layout.tensor == 1:
        return y_MD
    return jax.lax.psum_scatter(y_MD, "tensor", scatter_dimension=0, tiled=True)


def my_rows(x_MD: Array, layout: Layout) -> Array:
    """This device's tokens of something that all devices of `tensor` have."""
    if layout.tensor == 1:
        return x_MD
    rows = x_MD.shape[0] // layout.tensor
    return jax.lax.dynamic_slice_in_dim(x_MD, jax.lax.axis_index("tensor") * rows, rows)


def total(x: Array, axes: tuple[str, ...], layout: Layout) -> Array:
    """The sum over the axes' devices, on each of them."""
    over = layout.over(*axes)
    return jax.lax.psum(x, over) if over else x


def mean(x: Array, axes: tuple[str, ...], layout: Layout) -> Array:
    """The mean over the axes' devices, each with an equal share of what is averaged."""
    return total(x, axes, layout) / layout.ways(*axes)


def all_sequences(x_B: Array, layout: Layout) -> Array:
    """The batch of all devices, of which each has some sequences."""
    over = layout.over(*BATCH_AXES)
    return jax.lax.all_gather(x_B, over, axis=0, tiled=True) if over else x_B


def place(axes: tuple[str, ...], layout: Layout) -> Array | int:
    """This device's number along the axes, the first axis counting most."""
    over = layout.over(*axes)
    return jax.lax.axis_index(over) if over else 0


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gather_weight(shard: Array, axis: str, dim: int) -> Array:
    """A parameter whose dimension `dim` is divided over a mesh axis, whole.

    Backward every device gets its shard of the summed gradients. The sum is
    made in float32, whatever the precision of the compute.
    """
    return jax.lax.all_gather(shard, axis, axis=dim, tiled=True)


def _gather_forward(shard: Array, axis: str, dim: int) -> tuple[Array, None]:
    return gather_weight(shard, axis, dim), None


def _gather_backward(axis: str, dim: int, _: None, grad: Array) -> tuple[Array]:
    summed = jax.lax.psum_scatter(grad.astype(jnp.float32), axis, scatter_dimension=dim, tiled=True)
    return (summed.astype(grad.dtype),)


gather_weight.defvjp(_gather_forward, _gather_backward)
