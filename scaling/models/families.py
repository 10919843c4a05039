"""One face for every family of models: parameters from a seed, states from tokens, logits from states.

Letters: B batch, T position, M tokens, D width, V vocabulary.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from scaling.config import ModelConfig, RecurrentConfig, TransformerConfig
from scaling.config.precision import EightBits
from scaling.models import recurrent
from scaling.models.eight_bits import round_linear_maps
from scaling.models.head import unembed
from scaling.models.inputs import Inputs, States
from scaling.models.parametrisation import logit_scale
from scaling.models.stack import Block
from scaling.models.transformer import Transformer
from scaling.parallel.layout import ALONE, Layout

Params = dict[str, Any]  # nested, as the modules are


class Readout(NamedTuple):
    """What logits are made of: softcapped(x @ head^T + bias, cap)."""

    x_MD: Array  # states, transformed and scaled
    head_VD: Array
    bias_V: Array | None
    cap: float | None


def init(model: ModelConfig, seed: Array | int) -> Params:
    """Fresh float32 parameters; a pure function of the seed, a number or a key, so it may be traced."""
    if isinstance(model, RecurrentConfig):
        return recurrent.init(model, seed)
    is_key = isinstance(seed, Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key)
    return nnx.to_pure_dict(nnx.state(Transformer(model, nnx.Rngs(seed if is_key else jax.random.key(seed)))))


def states(
    model: ModelConfig, params: Params, inputs: Inputs, layout: Layout = ALONE, bits: EightBits | None = None
) -> States:
    """The last hidden states, (B, T, D), in the precision of the parameters.

    bits: how a transformer's layers round what their linear maps multiply; None: not at all.
    """
    if isinstance(model, RecurrentConfig):
        return recurrent.states(model, params, inputs)
    return nnx.merge(_graph(model, bits), params).states(inputs, layout)


def logits(model: ModelConfig, params: Params, x_MD: Array) -> Array:
    """Logits (M, V) of some of the states, float32."""
    if isinstance(model, RecurrentConfig):
        return unembed(x_MD, params["embedding"] if model.tied else params["head"])
    return nnx.merge(_graph(model), params).logits(x_MD)


def readout(model: ModelConfig, params: Params, x_MD: Array) -> Readout:
    """What `logits` multiplies."""
    if isinstance(model, RecurrentConfig):
        return Readout(x_MD, params["embedding"] if model.tied else params["head"], None, None)
    if model.head_transform:
        x_MD = nnx.merge(_graph(model), params).head_transform(x_MD)
    scale = logit_scale(model)
    x_MD = x_MD if scale == 1.0 else x_MD * scale
    head_VD = params["embedding"] if model.tied else params["head"]
    return Readout(x_MD, head_VD, params.get("head_bias"), model.logit_softcap)


def sentence_logits(model: TransformerConfig, params: Params, x_BTD: Array) -> Array:
    """Logits (B, 2), float32, of a model with a sentence head: the second text follows the first; it does not."""
    return nnx.merge(_graph(model), params).sentence_logits(x_BTD)


@cache
def _graph(model: TransformerConfig, bits: EightBits | None = None) -> nnx.GraphDef:
    abstract = nnx.eval_shape(lambda: Transformer(model, nnx.Rngs(0)))
    if bits:
        for _, module in nnx.iter_modules(abstract):
            if isinstance(module, Block):
                round_linear_maps(module, bits)
    return nnx.split(abstract)[0]
