"""Sequences that the devices of `context` share.

Device i of n holds the i-th and the i-th last of 2 n pieces of every
sequence: a later token sees more, so that in causal attention all have the
same work (zig-zag).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scaling.parallel.layout import Layout
from scaling.parallel.zigzag import zigzag


def my_places(length: int, layout: Layout) -> Array | None:
    """Where this device's `length` tokens of every sequence stand in it; None where it has all, in order."""
    if layout.context == 1:
        return None
    order = zigzag(length * layout.context, layout.context).reshape(layout.context, length)
    return jnp.asarray(order)[jax.lax.axis_index("context")]


def my_part(x_BT: Array, layout: Layout) -> Array:
    """This device's tokens of whole sequences."""
    if layout.context == 1:
        return x_BT
    return x_BT[:, my_places(x_BT.shape[1] // layout.context, layout)]


def whole(x_BT: Array, layout: Layout) -> Array:
    """Whole sequences, in order, of the parts that the devices of `context` have."""
    if layout.context == 1:
        return x_BT
    gathered = jax.lax.all_gather(x_BT, "context", axis=1, tiled=True)
    return gathered[:, np.argsort(zigzag(gathered.shape[1], layout.context))]
