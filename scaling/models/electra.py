"""ELECTRA: a small masked language model proposes tokens, the model tells which were replaced.

Clark et al. 2020, arXiv:2003.10555, section 3. Both share the token
embeddings; the generator reads them through a projection to its own width.

Letters: B sequences, T positions, K masked places, D width of the model, V vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from scaling.config import ReplacedTokens, TransformerConfig
from scaling.config.generator import generator
from scaling.models import families
from scaling.models.families import Params
from scaling.models.head import token_losses
from scaling.models.layers import linear
from scaling.objectives.example import Example
from scaling.objectives.replaced import replace


class Detection(NamedTuple):
    """Of a batch."""

    nats_BT: Array  # of telling replaced from original, 0 where nothing is judged
    weights_BT: Array  # 1 where a token is judged
    auxiliary: Array  # the generator's mean loss, weighed as the objective says


class Detector(nnx.Module):
    """A linear map, GELU, and a logit a position: how likely it was replaced."""

    def __init__(self, model: TransformerConfig, rngs: nnx.Rngs):
        self.linear = linear(model, "hidden", model.dim, model.dim, rngs, bias=True)
        self.out = linear(model, "readout", model.dim, 1, rngs, bias=True)

    def __call__(self, x_BTD: Array) -> Array:
        return self.out(jax.nn.gelu(self.linear(x_BTD)))[..., 0].astype(jnp.float32)


def init(model: TransformerConfig, objective: ReplacedTokens, seed: Array | int) -> Params:
    """Fresh parameters of the model, its generator, and what joins them."""
    of_detector, of_generator, of_projection, of_detection = jax.random.split(jax.random.key(seed), 4)
    small = generator(model, objective)
    proposing = families.init(small, of_generator)
    del proposing["embedding"]
    projection = model.dim**-0.5 * jax.random.normal(of_projection, (model.dim, small.dim))
    return {
        "detector": families.init(model, of_detector),
        "generator": proposing,
        "embedding_projection": projection,
        "detection": nnx.to_pure_dict(nnx.state(Detector(model, nnx.Rngs(of_detection)))),
    }


def losses(
    model: TransformerConfig, objective: ReplacedTokens, params: Params, masked: Example, keys_B: Array
) -> Detection:
    """masked: what the generator reads. The gradient of the judgement does not pass through the proposals."""
    small = generator(model, objective)
    # The projected table is the table of projected look-ups, and the tied head on the way back.
    embedding_Vd = params["detector"]["embedding"] @ params["embedding_projection"]
    proposing = {**params["generator"], "embedding": embedding_Vd}
    x_BTD = families.states(small, proposing, masked.inputs).x_BTD
    chosen_BKD = jnp.take_along_axis(x_BTD, masked.places_BK[..., None], axis=1)
    logits_MV = families.logits(small, proposing, chosen_BKD.reshape(-1, small.dim))
    nats_M = token_losses(logits_MV, masked.targets_BK.reshape(-1)) * masked.weights_BK.reshape(-1)
    logits_BKV = jax.lax.stop_gradient(logits_MV).reshape(*masked.targets_BK.shape, -1)

    inputs, labels_BT, weights_BT = replace(masked, logits_BKV, keys_B)
    x_BTD = families.states(model, params["detector"], inputs).x_BTD
    graph = nnx.split(nnx.eval_shape(lambda: Detector(model, nnx.Rngs(0))))[0]
    judged_BT = nnx.merge(graph, params["detection"])(x_BTD)
    return Detection(
        nats_BT=(jax.nn.softplus(judged_BT) - labels_BT * judged_BT) * weights_BT,
        weights_BT=weights_BT,
        auxiliary=jnp.sum(nats_M) / jnp.sum(masked.weights_BK) / objective.detection_weight,
    )
