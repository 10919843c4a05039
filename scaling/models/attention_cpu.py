"""Attention as XLA's CPU compiler runs it fastest.

What was found by measuring, against softmax attention differentiated by JAX:
blocks of keys that no query of a block sees are never computed; the scores'
gradient is written out as p (dp - sum(do o)), two passes over the scores
instead of six; the division by the softmax's sum is left to the output, H
wide, instead of the weights, S wide; and the gradients of keys and values are
computed as (H, S), because a product whose left operand is transposed and
wide runs four times slower.

Letters: B batch, T query, S key, N query heads, K key heads, G = N / K heads
to a group, H head size, Z = B K, Q queries of a block, R = G Q.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scaling.models.sight import Pattern, Sight

# Added to a forbidden score: its exp is 0 in float32, and subtracting the maximum overflows nowhere.
FORBIDDEN = -1e30
BLOCK = 64  # queries; two blocks at least, so that a quarter of a causal square is saved


def attend_cpu(
    q_BTNH: Array, k_BSKH: Array, v_BSKH: Array, pattern: Pattern, sight: Sight, bias_NTS: Array | None
) -> Array:
    """Softmax attention, (B, T, N, H); see `attention.attend`. Queries are scaled already."""
    batch, positions, heads, size = q_BTNH.shape
    key_heads = k_BSKH.shape[2]
    q_ZGTH = q_BTNH.transpose(0, 2, 1, 3).reshape(-1, heads // key_heads, positions, size)
    k_ZSH, v_ZSH = (x.transpose(0, 2, 1, 3).reshape(-1, x.shape[1], size) for x in (k_BSKH, v_BSKH))
    sight_Z = jax.tree.map(lambda x: jnp.repeat(x, key_heads, axis=0), sight)
    bias_KGTS = None if bias_NTS is None else bias_NTS.reshape(key_heads, -1, *bias_NTS.shape[1:])
    out_ZGTH = _attend(pattern, q_ZGTH, k_ZSH, v_ZSH, sight_Z, bias_KGTS)
    return out_ZGTH.reshape(batch, heads, positions, size).transpose(0, 2, 1, 3)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(pattern: Pattern, q_ZGTH: Array, k_ZSH: Array, v_ZSH: Array, sight: Sight, bias: Array | None) -> Array:
    return _forward(pattern, q_ZGTH, k_ZSH, v_ZSH, sight, bias)[0]


def _forward(
    pattern: Pattern, q_ZGTH: Array, k_ZSH: Array, v_ZSH: Array, sight: Sight, bias_KGTS: Array | None
) -> tuple[Array, tuple]:
    groups, positions = q_ZGTH.shape[1:3]
    kept, out = [], []
    for block in _blocks(pattern, sight, positions, k_ZSH.shape[1]):
        start, stop, first, last = block
        q_ZRH = q_ZGTH[:, :, start:stop].reshape(q_ZGTH.shape[0], -1, q_ZGTH.shape[3])
        # float32: bfloat16 keeps 8 significant bits, too few to sum over S.
        scores_ZRS = jnp.einsum("zrh,zsh->zrs", q_ZRH, k_ZSH[:, first:last], preferred_element_type=jnp.float32)
        slope_ZRS = None
        if pattern.softcap is not None:
            bent_ZRS = jnp.tanh(scores_ZRS / pattern.softcap)
            scores_ZRS, slope_ZRS = pattern.softcap * bent_ZRS, 1 - jnp.square(bent_ZRS)
        scores_ZRS = _with_bias(scores_ZRS, bias_KGTS, block) + _mask(pattern, sight, block, groups)
        weights_ZRS = jnp.exp(scores_ZRS - jnp.max(scores_ZRS, axis=-1, keepdims=True))
        inverse_ZR1 = 1 / jnp.sum(weights_ZRS, axis=-1, keepdims=True)
        weights_ZRS = weights_ZRS.astype(v_ZSH.dtype)
        out_ZRH = jnp.einsum("zrs,zsh->zrh", weights_ZRS, v_ZSH[:, first:last]) * inverse_ZR1.astype(v_ZSH.dtype)
        kept.append((q_ZRH, weights_ZRS, inverse_ZR1, out_ZRH, slope_ZRS))
        out.append(out_ZRH.reshape(q_ZGTH.shape[0], groups, stop - start, -1))
    return jnp.concatenate(out, axis=2), (kept, k_ZSH, v_ZSH, sight, bias_KGTS)


def _backward(pattern: Pattern, kept_all: tuple, dout_ZGTH: Array) -> tuple:
    kept, k_ZSH, v_ZSH, sight, bias_KGTS = kept_all
    heads, groups, positions, size = dout_ZGTH.shape
    keys = k_ZSH.shape[1]
    dq, dbias, dk_ZHS, dv_ZHS = [], [], 0, 0
    blocks = _blocks(pattern, sight, positions, keys)
    for block, (q_ZRH, weights_ZRS, inverse_ZR1, out_ZRH, slope_ZRS) in zip(blocks, kept, strict=True):
        start, stop, first, last = block
        dout_ZRH = dout_ZGTH[:, :, start:stop].reshape(heads, -1, size) * inverse_ZR1.astype(dout_ZGTH.dtype)
        dweights_ZRS = jnp.einsum("zrh,zsh->zrs", dout_ZRH, v_ZSH[:, first:last])
        dscores_ZRS = weights_ZRS * (dweights_ZRS - jnp.sum(dout_ZRH * out_ZRH, axis=-1, keepdims=True))
        if bias_KGTS is not None:
            dbias.append(_bias_gradient(dscores_ZRS, bias_KGTS, block))
        if slope_ZRS is not None:
            dscores_ZRS = (dscores_ZRS * slope_ZRS).astype(dscores_ZRS.dtype)
        dq.append(jnp.einsum("zrs,zsh->zrh", dscores_ZRS, k_ZSH[:, first:last]).reshape(heads, groups, -1, size))
        unseen = ((0, 0), (0, 0), (first, keys - last))
        dv_ZHS += jnp.pad(jnp.einsum("zrh,zrs->zhs", dout_ZRH, weights_ZRS), unseen)
        dk_ZHS += jnp.pad(jnp.einsum("zrh,zrs->zhs", q_ZRH, dscores_ZRS), unseen)
    dq_ZGTH = jnp.concatenate(dq, axis=2)
    dbias_KGTS = jnp.concatenate(dbias, axis=2) if dbias else None
    return dq_ZGTH, dk_ZHS.transpose(0, 2, 1), dv_ZHS.transpose(0, 2, 1), None, dbias_KGTS


_attend.defvjp(_forward, _backward)

Block = tuple[int, int, int, int]  # queries [start, stop) see keys [first, last) and no others


def _blocks(pattern: Pattern, sight: Sight, positions: int, keys: int) -> list[Block]:
    width = min(BLOCK, -(-positions // 2))
    blocks = []
    for start in range(0, positions, width):
        stop = min(start + width, positions)
        last = min(stop, keys) if pattern.causal and sight.prefix_B is None else keys
        first = 0
        if pattern.window is not None and sight.prefix_B is None:
            first = max(0, start - pattern.window + 1)
            last = last if pattern.causal else min(keys, stop + pattern.window - 1)
        blocks.append((start, stop, first, last))
    return blocks


def _mask(pattern: Pattern, sight: Sight, block: Block, groups: int) -> Array | np.ndarray | float:
    """What is added to the scores of a block: 0 where allowed; (R, S), or (Z, R, S) where it differs by row."""
    start, stop, first, last = block
    allowed = pattern.static_allowed(np.arange(start, stop)[:, None], np.arange(first, last))
    allowed = sight.allowed(allowed, slice(start, stop), slice(first, last))
    if isinstance(allowed, np.ndarray):
        if allowed.all():
            return 0.0
        return np.tile(np.where(allowed, 0.0, FORBIDDEN).astype(np.float32), (groups, 1))
    return jnp.tile(jnp.where(allowed, 0.0, FORBIDDEN), (1, groups, 1))


def _with_bias(scores_ZRS: Array, bias_KGTS: Array | None, block: Block) -> Array:
    if bias_KGTS is None:
        return scores_ZRS
    start, stop, first, last = block
    bias_KRS = bias_KGTS[:, :, start:stop, first:last].reshape(bias_KGTS.shape[0], -1, last - first)
    batched_BKRS = scores_ZRS.reshape(-1, *bias_KRS.shape) + bias_KRS.astype(jnp.float32)
    return batched_BKRS.reshape(scores_ZRS.shape)


def _bias_gradient(dscores_ZRS: Array, bias_KGTS: Array, block: Block) -> Array:
    """Summed over the batch, in the bias's own shape and type; 0 for keys that the block does not see."""
    start, stop, first, last = block
    key_heads, groups, _, keys = bias_KGTS.shape
    batched_BX = dscores_ZRS.reshape(dscores_ZRS.shape[0] // key_heads, -1)
    # A product with ones: XLA's own sum over a leading dimension is many times slower on CPU.
    dbias_X = jnp.matmul(jnp.ones(len(batched_BX), batched_BX.dtype), batched_BX, preferred_element_type=jnp.float32)
    dbias_KGQS = dbias_X.reshape(key_heads, groups, stop - start, last - first)
    return jnp.pad(dbias_KGQS, ((0, 0), (0, 0), (0, 0), (first, keys - last))).astype(bias_KGTS.dtype)
