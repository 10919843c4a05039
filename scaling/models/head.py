"""From the last hidden state to logits, and from logits to losses; their gradients are written out for speed.

Letters: M tokens of the batch, C tokens of a part of them, D width, V vocabulary.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from scaling.parallel.collectives import mean, place, total
from scaling.parallel.layout import Layout

LOGITS_AT_ONCE = 1 << 28  # of more, 1 GiB in float32, the loss is computed in parts


@jax.custom_vjp
def unembed(x_MD: Array, head_VD: Array) -> Array:
    """Logits (M, V), float32."""
    return jnp.einsum("md,vd->mv", x_MD, head_VD, preferred_element_type=jnp.float32)


def _unembed_forward(x_MD: Array, head_VD: Array) -> tuple[Array, tuple[Array, Array]]:
    return unembed(x_MD, head_VD), (x_MD, head_VD)


def _unembed_backward(kept: tuple[Array, Array], dlogits_MV: Array) -> tuple[Array, Array]:
    x_MD, head_VD = kept
    dlogits_MV = dlogits_MV.astype(x_MD.dtype)
    # Folded into the product, either transposition makes it 2 to 4 times slower on CPU; barriers keep them apart.
    apart = jax.lax.optimization_barrier if jax.default_backend() == "cpu" else lambda x: x
    dhead_DV = apart(apart(x_MD.T) @ dlogits_MV)
    return dlogits_MV @ head_VD, dhead_DV.T


unembed.defvjp(_unembed_forward, _unembed_backward)


def softcapped(logits_MV: Array, cap: float | None) -> Array:
    """cap * tanh(logits / cap); None leaves them as they are."""
    return logits_MV if cap is None else cap * jnp.tanh(logits_MV / cap)


@jax.custom_vjp
def token_losses(logits_MV: Array, targets_M: Array) -> Array:
    """Cross-entropy of every target, nats, (M,)."""
    return _losses_forward(logits_MV, targets_M)[0]


def _losses_forward(logits_MV: Array, targets_M: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    shifted_MV = logits_MV - jnp.max(logits_MV, axis=-1, keepdims=True)
    weights_MV = jnp.exp(shifted_MV)
    total_M = jnp.sum(weights_MV, axis=-1)
    chosen_M = jnp.take_along_axis(shifted_MV, targets_M[:, None], axis=-1)[:, 0]
    return jnp.log(total_M) - chosen_M, (weights_MV, total_M, targets_M)


def _losses_backward(kept: tuple[Array, Array, Array], dlosses_M: Array) -> tuple[Array, None]:
    """softmax minus one-hot, times the incoming gradient; one pass over the logits, and no scatter."""
    weights_MV, total_M, targets_M = kept
    is_target_MV = targets_M[:, None] == jnp.arange(weights_MV.shape[-1])
    softmax_part_MV = weights_MV * (dlosses_M / total_M)[:, None]
    return softmax_part_MV - jnp.where(is_target_MV, dlosses_M[:, None], 0.0), None


token_losses.defvjp(_losses_forward, _losses_backward)


def shared_token_losses(logits_MV: Array, targets_M: Array, layout: Layout) -> Array:
    """`token_losses` of logits of which every device of `pipe` and `tensor` has those of its part of the vocabulary."""
    shares = ("pipe", "tensor")
    highest_M = jax.lax.pmax(jax.lax.stop_gradient(jnp.max(logits_MV, axis=-1)), layout.over(*shares))
    shifted_MV = logits_MV - highest_M[:, None]
    total_M = total(jnp.sum(jnp.exp(shifted_MV), axis=-1), shares, layout)
    return jnp.log(total_M) - _chosen(shifted_MV, targets_M, layout)


def _chosen(logits_MV: Array, targets_M: Array, layout: Layout) -> Array:
    """The target's logit, on whichever device it is."""
    shares = ("pipe", "tensor")
    mine_V = place(shares, layout) * logits_MV.shape[-1] + jnp.arange(logits_MV.shape[-1])
    # Picked by comparison: the gradient of a look-up would be a scatter.
    return total(jnp.sum(jnp.where(targets_M[:, None] == mine_V, logits_MV, 0.0), axis=-1), shares, layout)


def shared_mean_logit_gaps(logits_MV: Array, targets_M: Array, layout: Layout) -> Array:
    """`mean_logit_gaps` of logits of which every device has a part of the vocabulary."""
    mean_M = mean(jnp.mean(logits_MV, axis=-1), ("pipe", "tensor"), layout)
    return _chosen(logits_MV, targets_M, layout) - mean_M


def mean_logit_gaps(logits_MV: Array, targets_M: Array) -> Array:
    """Target's logit minus the mean of all, (M,): label smoothing adds its strength times this to the loss.

    With the share s of every target spread evenly (Szegedy et al. 2016,
    section 7), the cross-entropy grows by s (z_target - mean z).
    """
    return jnp.take_along_axis(logits_MV, targets_M[:, None], axis=-1)[:, 0] - jnp.mean(logits_MV, axis=-1)


def gaps_of_states(x_MD: Array, head_VD: Array, bias_V: Array | None, targets_M: Array) -> Array:
    """`mean_logit_gaps` of logits without a cap, which need not exist for it, (M,)."""
    against_MD = head_VD[targets_M] - jnp.mean(head_VD, axis=0, dtype=jnp.float32)
    gaps_M = jnp.sum(x_MD * against_MD, axis=-1)
    if bias_V is None:
        return gaps_M
    bias_V = bias_V.astype(jnp.float32)
    return gaps_M + bias_V[targets_M] - jnp.mean(bias_V)


def chunks_of(targets: int, vocab: int) -> int:
    """Parts that the targets are cut into, so that the logits of one part are at most LOGITS_AT_ONCE."""
    return -(-targets * vocab // LOGITS_AT_ONCE)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def chunked_losses(
    x_MD: Array,
    head_VD: Array,
    bias_V: Array | None,
    targets_M: Array,
    weights_M: Array,
    cap: float | None,
    chunks: int,
) -> Array:
    """Weighted cross-entropy of every target, nats, (M,); logits exist for a part of the targets at a time.

    What `token_losses` makes of `softcapped(unembed(x, head) + bias, cap)`,
    times the weights. Where a gradient is asked for, it is computed with the
    losses, part by part, and the logits are computed once. So it is known
    before the incoming gradient is: this must be one number for all targets,
    as it is of a sum or a mean of what is returned; of anything else the
    gradients are NaN.
    """
    parts = _parts(x_MD, targets_M, chunks)

    def losses(_: None, part: tuple[Array, Array]) -> tuple[None, Array]:
        x_CD, targets_C = part
        logits_CV, _ = _bent(x_CD, head_VD, bias_V, cap)
        return None, token_losses(logits_CV, targets_C)

    _, nats = jax.lax.scan(losses, None, parts)
    return _whole(nats, len(targets_M)) * weights_M


def _chunked_forward(
    x_MD: Array,
    head_VD: Array,
    bias_V: Array | None,
    targets_M: Array,
    weights_M: Array,
    cap: float | None,
    chunks: int,
) -> tuple[Array, tuple[Any, ...]]:
    def part(total: tuple[Array, Array], read: tuple[Array, ...]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        x_CD, targets_C, weights_C = read
        logits_CV, slope_CV = _bent(x_CD, head_VD, bias_V, cap)
        nats_C, kept = _losses_forward(logits_CV, targets_C)
        dlogits_CV = _losses_backward(kept, weights_C)[0]
        dlogits_CV = dlogits_CV if slope_CV is None else dlogits_CV * slope_CV
        dbias_V = total[1] if bias_V is None else total[1] + jnp.sum(dlogits_CV, axis=0)
        dlogits_CV = dlogits_CV.astype(x_CD.dtype)
        # Summed over the parts in float32, whatever the precision of the compute.
        dhead_VD = total[0] + jnp.einsum("cv,cd->vd", dlogits_CV, x_CD, preferred_element_type=jnp.float32)
        return (dhead_VD, dbias_V), (nats_C, dlogits_CV @ head_VD)

    zero = jnp.zeros(head_VD.shape, jnp.float32), jnp.zeros(len(head_VD), jnp.float32)
    (dhead_VD, dbias_V), (nats, dx) = jax.lax.scan(part, zero, _parts(x_MD, targets_M, chunks, weights_M))
    nats_M, dx_MD = _whole(nats, len(targets_M)), _whole(dx, len(targets_M))
    dbias_V = None if bias_V is None else dbias_V.astype(bias_V.dtype)
    return nats_M * weights_M, (dx_MD, dhead_VD.astype(head_VD.dtype), dbias_V, nats_M)


def _chunked_backward(cap: float | None, chunks: int, kept: tuple[Any, ...], dlosses_M: Array) -> tuple[Any, ...]:
    dx_MD, dhead_VD, dbias_V, nats_M = kept
    times = jnp.where(jnp.all(dlosses_M == dlosses_M[0]), dlosses_M[0], jnp.nan)
    scaled = [None if x is None else x * times.astype(x.dtype) for x in (dx_MD, dhead_VD, dbias_V)]
    return *scaled, None, nats_M * dlosses_M


chunked_losses.defvjp(_chunked_forward, _chunked_backward)


def _bent(x_CD: Array, head_VD: Array, bias_V: Array | None, cap: float | None) -> tuple[Array, Array | None]:
    """Logits with bias and cap, and the slope of the cap."""
    logits_CV = jnp.einsum("cd,vd->cv", x_CD, head_VD, preferred_element_type=jnp.float32)
    logits_CV = logits_CV if bias_V is None else logits_CV + bias_V.astype(jnp.float32)
    bent_CV = softcapped(logits_CV, cap)
    return bent_CV, None if cap is None else 1 - jnp.square(bent_CV / cap)


def _parts(x_MD: Array, targets_M: Array, chunks: int, weights_M: Array | None = None) -> tuple[Array, ...]:
    """Rows dealt out to the parts in turn, so that each holds some of every device's; filled up with rows of no weight.

    Each result is (parts, rows of a part, ...).
    """
    missing = -len(targets_M) % chunks

    def dealt(rows: Array) -> Array:
        filled = jnp.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
        return jnp.moveaxis(filled.reshape(-1, chunks, *rows.shape[1:]), 1, 0)

    return tuple(dealt(rows) for rows in (x_MD, targets_M, weights_M) if rows is not None)


def _whole(parts: Array, rows: int) -> Array:
    """The rows of `_parts` in their first order, without the filling."""
    return jnp.moveaxis(parts, 0, 1).reshape(-1, *parts.shape[2:])[:rows]
