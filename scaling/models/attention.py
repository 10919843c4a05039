"""Attention: one function that picks the fastest correct way for the platform, and the module around it.

Letters: B batch, T query position, S key position, N query heads, K key heads,
H head size, M tokens of the batch (B times T), D width.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.tree_util import Partial

from scaling.config import TransformerConfig
from scaling.models.attention_cpu import FORBIDDEN, attend_cpu
from scaling.models.attention_ring import ring_attend
from scaling.models.layers import Norm, linear, summed
from scaling.models.parametrisation import attention_scale
from scaling.models.positions import rotate, rotate_at
from scaling.models.sight import EVERYTHING, Pattern, Sight, full_mask
from scaling.parallel.collectives import gather_rows
from scaling.parallel.layout import ALONE, Layout

Bias = Array | Partial


def attend(
    q_BTNH: Array,
    k_BSKH: Array,
    v_BSKH: Array,
    pattern: Pattern,
    sight: Sight = EVERYTHING,
    *,
    scale: float,
    bias_NTS: Array | None = None,
) -> Array:
    """Softmax attention; result (B, T, N, H). Query head n reads key head n // (N/K).

    scale: of the scores, before soft cap and bias.
    """
    if jax.default_backend() == "cpu":
        return attend_cpu(q_BTNH * scale, k_BSKH, v_BSKH, pattern, sight, bias_NTS)
    if pattern.softcap is not None:  # no flash kernel bends the scores
        return attend_plainly(q_BTNH, k_BSKH, v_BSKH, pattern, sight, scale=scale, bias_NTS=bias_NTS)
    same_everywhere = all(x is None for x in sight)
    mask = None if same_everywhere else full_mask(pattern, sight, q_BTNH.shape[1], k_BSKH.shape[1])[:, None]
    ahead = 0 if pattern.causal else (pattern.window or 1) - 1
    return jax.nn.dot_product_attention(
        q_BTNH,
        k_BSKH,
        v_BSKH,
        bias=None if bias_NTS is None else bias_NTS[None].astype(q_BTNH.dtype),
        mask=mask,
        is_causal=pattern.causal and same_everywhere,
        local_window_size=(pattern.window - 1, ahead) if pattern.window and same_everywhere else None,
        scale=scale,
        implementation=_implementation(q_BTNH),
    )


def attend_plainly(
    q_BTNH: Array,
    k_BSKH: Array,
    v_BSKH: Array,
    pattern: Pattern,
    sight: Sight = EVERYTHING,
    *,
    scale: float,
    bias_NTS: Array | None = None,
) -> Array:
    """What `attend` computes, written as the definition says, the whole square of scores in memory."""
    groups = q_BTNH.shape[2] // k_BSKH.shape[2]
    k_BSNH, v_BSNH = (jnp.repeat(x, groups, axis=2) for x in (k_BSKH, v_BSKH))
    scores_BNTS = jnp.einsum("btnh,bsnh->bnts", q_BTNH * scale, k_BSNH, preferred_element_type=jnp.float32)
    if pattern.softcap is not None:
        scores_BNTS = pattern.softcap * jnp.tanh(scores_BNTS / pattern.softcap)
    if bias_NTS is not None:
        scores_BNTS = scores_BNTS + bias_NTS
    allowed = full_mask(pattern, sight, q_BTNH.shape[1], k_BSKH.shape[1])
    scores_BNTS = jnp.where(allowed[:, None] if allowed.ndim == 3 else allowed, scores_BNTS, FORBIDDEN)
    return jnp.einsum("bnts,bsnh->btnh", jax.nn.softmax(scores_BNTS).astype(v_BSNH.dtype), v_BSNH)


def _implementation(q_BTNH: Array) -> str | None:
    # cuDNN's flash attention takes 16-bit types only; elsewhere XLA chooses.
    on_gpu = jax.default_backend() in ("gpu", "cuda")
    return "cudnn" if on_gpu and q_BTNH.dtype in (jnp.bfloat16, jnp.float16) else None


class Attention(nnx.Module):
    """Multi-head attention with grouped keys (Ainslie et al. 2023, arXiv:2305.13245), to itself or to a source."""

    def __init__(self, model: TransformerConfig, rngs: nnx.Rngs):
        inner, keys = model.heads * model.head_dim, model.key_heads * model.head_dim
        biased = model.biases or model.qkv_biases
        self.query = linear(model, "query", model.dim, inner, rngs, bias=biased)
        self.key = linear(model, "hidden", model.dim, keys, rngs, bias=biased)
        self.value = linear(model, "hidden", model.dim, keys, rngs, bias=biased)
        self.out = linear(model, "residual", inner, model.dim, rngs)
        self.query_norm = _head_norm(model) if model.qk_norm else None
        self.key_norm = _head_norm(model) if model.qk_norm else None
        self.model = model

    def __call__(
        self,
        x_MD: Array,
        positions: int,
        pattern: Pattern,
        sight: Sight,
        bias: Bias | None,
        source: tuple[Array, int] | None = None,
        layout: Layout = ALONE,
        place_T: Array | None = None,
    ) -> Array:
        """What attention adds to the residual stream, (M, D).

        source: states (B S, D) that keys and values are made of, and S; None: of x_MD itself.
        place_T: where the tokens stand in their sequence, if that is not 0, 1, 2, ...
        bias: what is added to the scores, (N, T, T); of parts of sequences, a function of places.
        """
        model, size = self.model, self.model.head_dim
        x_MD = gather_rows(x_MD, layout)
        read_MD, keys = source or (x_MD, positions)
        # Heads that are not this device's have left no trace in the projections' shapes.
        q_BTNH = self.query(x_MD).reshape(-1, positions, model.heads // layout.tensor, size)
        k_BSKH, v_BSKH = (
            project(read_MD).reshape(-1, keys, model.key_heads // layout.tensor, size)
            for project in (self.key, self.value)
        )
        if self.query_norm is not None and self.key_norm is not None:
            q_BTNH, k_BSKH = self.query_norm(q_BTNH), self.key_norm(k_BSKH)
        if model.positions == "rope" and source is None:
            turn = (model.rope_base, model.rope_scaling)
            if place_T is None:
                q_BTNH, k_BSKH = rotate(q_BTNH, *turn), rotate(k_BSKH, *turn)
            else:
                q_BTNH, k_BSKH = rotate_at(q_BTNH, place_T, *turn), rotate_at(k_BSKH, place_T, *turn)
        scale = attention_scale(model)
        if layout.context == 1:
            mixed_BTNH = attend(q_BTNH, k_BSKH, v_BSKH, pattern, sight, scale=scale, bias_NTS=bias)
        else:
            ring = {"axis": "context", "shards": layout.context, "scale": scale, "bias_of": bias}
            mixed_BTNH = ring_attend(q_BTNH, k_BSKH, v_BSKH, pattern, sight, **ring)
        return summed(self.out, mixed_BTNH.reshape(x_MD.shape[0], -1), layout)


def _head_norm(model: TransformerConfig) -> Norm:
    return Norm(model.head_dim, centered=False, bias=False, eps=model.norm_eps)
