"""From the last hidden state to logits, and from logits to losses; their gradients are written out for speed.

Letters: M tokens of the batch, D width, V vocabulary.
"""

import jax
import jax.numpy as jnp
from jax import Array

from scaling.parallel.collectives import mean, place, total
from scaling.parallel.layout import Layout


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
