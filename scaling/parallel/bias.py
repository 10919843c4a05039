"""What is added to attention's scores by distance, for rows and columns that stand anywhere in the sequence.

Letters: T length of the whole sequence, L = 2 T - 1 distances, R buckets, N heads; Q queries and C keys asked for.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scaling.models.positions import relative_buckets


def relative_bias_of(bias_RN: Array, length: int, *, distance: int, both_ways: bool) -> Partial:
    """`positions.relative_bias` as a function of places (Q,) and (C,) below `length`, (N, Q, C)."""
    ahead_L = np.arange(1 - length, length)
    bucket_L = relative_buckets(ahead_L, buckets=bias_RN.shape[0], distance=distance, both_ways=both_ways)

    def bias(bias_RN: Array, queries_Q: Array, keys_C: Array) -> Array:
        # Looked up by distance and not by bucket: a table that XLA keeps whole, instead of Q times C buckets.
        return bias_RN[bucket_L].T[:, keys_C - queries_Q[:, None] + length - 1]

    return Partial(bias, bias_RN)


def alibi_of(slopes_N: Array | np.ndarray) -> Partial:
    """`positions.alibi` as a function of places (Q,) and (C,), (N, Q, C); slopes of the heads at hand."""

    def bias(slopes_N: Array, queries_Q: Array, keys_C: Array) -> Array:
        distance_QC = jnp.abs(keys_C - queries_Q[:, None]).astype(jnp.float32)
        return -slopes_N[:, None, None] * distance_QC

    return Partial(bias, slopes_N)
