"""Every token from those before it.

Letters: B sequences, W tokens of a window, T = W - 1.
"""

import jax.numpy as jnp
from jax import Array

from scaling.models.inputs import Inputs
from scaling.objectives.example import Example


def next_token(window_BW: Array) -> Example:
    """Each token of the windows but the last is read, each but the first predicted."""
    targets_BT = window_BW[:, 1:]
    places_BT = jnp.broadcast_to(jnp.arange(targets_BT.shape[1]), targets_BT.shape)
    return Example(Inputs(window_BW[:, :-1]), targets_BT, jnp.ones(targets_BT.shape, jnp.float32), places_BT)
