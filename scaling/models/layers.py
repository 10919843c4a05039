"""Norm, linear map and MLP of a transformer block; how their weights begin is in `parametrisation`.

Letters: M tokens of the batch (batch times positions), D width, F MLP width.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from scaling.config import TransformerConfig
from scaling.models.parametrisation import Role, std
from scaling.parallel.collectives import gather_rows, scatter_rows
from scaling.parallel.layout import ALONE, Layout


def recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of which an accelerator keeps the arguments alone and computes the steps again on the way back.

    For elementwise work: of a norm and an activation autodiff keeps each step,
    some in float32: half of all that a block keeps. Writing and reading them
    takes longer than computing them. On CPU it does not.
    """
    # The backward pass of a scan is a loop of its own: there is nothing that it could share with the forward one.
    return function if jax.default_backend() == "cpu" else jax.checkpoint(function, prevent_cse=False)


class Norm(nnx.Module):
    """RMSNorm or LayerNorm over the last dimension, computed in float32. The scale starts at one, a bias at zero."""

    def __init__(self, dim: int, *, centered: bool, bias: bool, eps: float):
        self.scale = nnx.Param(jnp.ones(dim))
        self.bias = nnx.Param(jnp.zeros(dim)) if bias else None
        self.centered = centered
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        bias = None if self.bias is None else self.bias[...]
        return recomputed(partial(_normalised, self.centered, self.eps))(x, self.scale[...], bias)


def _normalised(centered: bool, eps: float, x: Array, scale: Array, bias: Array | None) -> Array:
    wide = x.astype(jnp.float32)
    if centered:
        wide = wide - jnp.mean(wide, axis=-1, keepdims=True)
    wide = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + eps)
    out = wide.astype(x.dtype) * scale
    return out if bias is None else out + bias


def block_norm(model: TransformerConfig) -> Norm:
    centered = model.norm == "layernorm"
    return Norm(model.dim, centered=centered, bias=centered and model.biases, eps=model.norm_eps)


def linear(
    model: TransformerConfig, role: Role, fan_in: int, fan_out: int, rngs: nnx.Rngs, *, bias: bool | None = None
) -> nnx.Linear:
    """A linear map. bias: None takes the model's."""
    start = nnx.initializers.normal(std(model, role, fan_in))
    return nnx.Linear(fan_in, fan_out, use_bias=model.biases if bias is None else bias, kernel_init=start, rngs=rngs)


def summed(linear: nnx.Linear, x_MF: Array, layout: Layout) -> Array:
    """A linear map of features that the devices of `tensor` share, (M, F) to (M, D).

    Each has a part of the features; of the parts' sum each keeps its tokens.
    """
    if layout.tensor == 1:
        return linear(x_MF)
    contracted = (((1,), (0,)), ((), ()))
    y_MD = scatter_rows(linear.dot_general(x_MF, linear.kernel[...], contracted), layout)
    return y_MD if linear.bias is None else y_MD + linear.bias[...]


def table(model: TransformerConfig, role: Role, rows: int, dim: int, rngs: nnx.Rngs) -> nnx.Param:
    """A table of vectors that are looked up."""
    return nnx.Param(std(model, role, dim) * jax.random.normal(rngs.params(), (rows, dim)))


def activate(model: TransformerConfig, up: Array, gate: Array | None) -> Array:
    """The MLP's non-linearity; gate is given where the activation has one (Shazeer 2020, arXiv:2002.05202)."""
    if gate is not None:
        return {"swiglu": jax.nn.silu, "geglu": jax.nn.gelu}[model.activation](gate) * up
    if model.activation == "relu":
        return jax.nn.relu(up)
    return jax.nn.gelu(up) if model.activation == "gelu" else gelu_exact(up)


def gelu_exact(x: Array) -> Array:
    """x times the normal distribution's share below x (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    if x.dtype != jnp.float32:
        return jax.nn.gelu(x, approximate=False)  # 1 + erf would lose far more of 8 significant bits than of 24
    # JAX's own is made of erfc: slower on CPU, and more arrays are kept for the gradient.
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


class MLP(nnx.Module):
    """Two linear maps around an activation, or three where it is gated."""

    def __init__(self, model: TransformerConfig, rngs: nnx.Rngs, hidden: int | None = None):
        hidden = hidden or model.hidden_dim
        self.gate = linear(model, "hidden", model.dim, hidden, rngs) if model.gated else None
        self.up = linear(model, "hidden", model.dim, hidden, rngs)
        self.down = linear(model, "residual", hidden, model.dim, rngs)
        self.model = model

    def __call__(self, x_MD: Array, layout: Layout = ALONE) -> Array:
        x_MD = gather_rows(x_MD, layout)
        gate_MF = None if self.gate is None else self.gate(x_MD)
        return summed(self.down, recomputed(partial(activate, self.model))(self.up(x_MD), gate_MF), layout)
