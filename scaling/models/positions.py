"""Where a token stands: rotary and sinusoidal positions, T5's relative buckets, ALiBi's slopes.

Letters: T query positions, S key positions, N heads, H head size, D width; where tokens stand anywhere in a sequence,
Q queries and C keys, L distances, R buckets.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scaling.config import RopeScaling

Turn = tuple[float, RopeScaling | None]  # base of the rotation rates, and how they are stretched


def rope_rates(head_dim: int, base: float, scaling: RopeScaling | None = None) -> np.ndarray:
    """Radians a position, one for each pair of features, (H/2,); see `RopeScaling`."""
    if scaling is not None and scaling.kind == "ntk":
        base = base * scaling.factor ** (head_dim / (head_dim - 2))
    rate = base ** (-np.arange(0, head_dim, 2) / head_dim)
    if scaling is None or scaling.kind == "ntk":
        return rate
    if scaling.kind == "linear":
        return rate / scaling.factor
    turns = scaling.original_context * rate / (2 * np.pi)  # within the context the model was trained on
    kept = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)
    kept = np.clip(kept, 0.0, 1.0)
    return kept * rate + (1 - kept) * rate / scaling.factor


def rope_table(
    positions: int, head_dim: int, base: float, scaling: RopeScaling | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and signed sines that rotate a head's halves, each (T, H).

    Su et al. 2021 (RoFormer, arXiv:2104.09864, eq. 15), pairing feature i
    with i + H/2 as LLaMA's published weights do.
    """
    angle = np.arange(positions)[:, None] * rope_rates(head_dim, base, scaling)
    cos, sin = np.cos(angle), np.sin(angle)
    return (
        np.concatenate([cos, cos], axis=-1).astype(np.float32),
        np.concatenate([-sin, sin], axis=-1).astype(np.float32),
    )


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def rotate(x_BTNH: Array, base: float, scaling: RopeScaling | None = None) -> Array:
    """Rotary positions on queries or keys. The gradient of a rotation is the rotation back."""
    return _turned(x_BTNH, (base, scaling), 1.0)


rotate.defvjp(
    lambda x_BTNH, base, scaling: (_turned(x_BTNH, (base, scaling), 1.0), None),
    lambda base, scaling, _, d_BTNH: (_turned(d_BTNH, (base, scaling), -1.0),),
)


def _turned(x_BTNH: Array, turn: Turn, direction: float) -> Array:
    """x cos + swap(x) sin."""
    cos_TH, sin_TH = rope_table(x_BTNH.shape[1], x_BTNH.shape[-1], *turn)
    cos_T1H = cos_TH[:, None].astype(x_BTNH.dtype)
    sin_T1H = (direction * sin_TH)[:, None].astype(x_BTNH.dtype)
    first, second = jnp.split(x_BTNH, 2, axis=-1)
    return x_BTNH * cos_T1H + jnp.concatenate([second, first], axis=-1) * sin_T1H


def rotate_at(x_BTNH: Array, place_T: Array, base: float, scaling: RopeScaling | None = None) -> Array:
    """`rotate` for tokens that stand elsewhere than at 0, 1, 2, ..."""
    rate = np.tile(rope_rates(x_BTNH.shape[-1], base, scaling), 2)
    angle_T1H = (place_T[:, None] * rate.astype(np.float32))[:, None]
    first, second = jnp.split(x_BTNH, 2, axis=-1)
    swapped = jnp.concatenate([-second, first], axis=-1)
    return x_BTNH * jnp.cos(angle_T1H).astype(x_BTNH.dtype) + swapped * jnp.sin(angle_T1H).astype(x_BTNH.dtype)


def sinusoids(positions: int, dim: int) -> np.ndarray:
    """Sines and cosines, interleaved, (T, D) (Vaswani et al. 2017, section 3.5)."""
    rate = 10_000.0 ** (-np.arange(0, dim, 2) / dim)
    angle = np.arange(positions)[:, None] * rate
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(positions, dim).astype(np.float32)


def relative_buckets(ahead: np.ndarray, *, buckets: int, distance: int, both_ways: bool) -> np.ndarray:
    """T5's bucket of a key that lies `ahead` tokens after its query (Raffel et al. 2020, section 2.1).

    Half of the buckets are single distances, the others widen up to
    `distance`, beyond which all share the last. both_ways: keys ahead have
    buckets of their own; else they share the bucket of distance 0.
    """
    offset = np.zeros_like(ahead)
    if both_ways:
        buckets //= 2
        offset = np.where(ahead > 0, buckets, 0)
        back = np.abs(ahead)
    else:
        back = np.maximum(-ahead, 0)
    single = buckets // 2
    # In float32, as the reference computes it: at exact powers another precision gives another bucket.
    share = np.log(np.maximum(back, 1).astype(np.float32) / single) / math.log(distance / single)
    wide = single + (share * (buckets - single)).astype(np.int64)
    return offset + np.where(back < single, back, np.minimum(wide, buckets - 1))


def relative_bias(bias_RN: Array, positions: int, *, distance: int, both_ways: bool) -> Array:
    """What T5 adds to the scores, (N, T, T). bias_RN: a row a bucket."""
    ahead = np.arange(1 - positions, positions)
    bucket = relative_buckets(ahead, buckets=bias_RN.shape[0], distance=distance, both_ways=both_ways)
    # A product with zeros and ones: the gradient of a look-up is a scatter, which is slow on CPU.
    chosen = (bucket[:, None] == np.arange(bias_RN.shape[0])).astype(np.float32)
    return _by_distance(jnp.einsum("lr,rn->nl", chosen.astype(bias_RN.dtype), bias_RN))


def alibi(heads: int, positions: int) -> Array:
    """Minus slope times distance, (N, T, T) (Press et al. 2022, ALiBi, arXiv:2108.12409, section 3)."""
    distance_TT = np.abs(np.arange(positions)[:, None] - np.arange(positions))
    return -jnp.asarray(alibi_slopes(heads))[:, None, None] * jnp.asarray(distance_TT, jnp.float32)


def alibi_slopes(heads: int) -> np.ndarray:
    """2^(-8/n), 2^(-16/n), ... for n heads; other than a power of two, every second slope of twice as many follows."""
    power = 2 ** int(math.log2(heads))
    slopes = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
    between = 2.0 ** (-4.0 * np.arange(1, 2 * (heads - power), 2) / power)
    return np.concatenate([slopes, between]).astype(np.float32)


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


def _by_distance(values_NL: Array) -> Array:
    """(N, T, T) whose entry (t, s) is the value at place s - t + T - 1 of L = 2 T - 1: each row one step later.

    By reshaping rows of L + 1 into rows of L, so that the gradient is a sum and not a scatter.
    """
    heads, length = values_NL.shape
    positions = (length + 1) // 2
    rows = jnp.broadcast_to(jnp.pad(values_NL, ((0, 0), (0, 1)))[:, None], (heads, positions, length + 1))
    shifted = rows.reshape(heads, -1)[:, : positions * length].reshape(heads, positions, length)
    return shifted[:, :, positions - 1 :]
