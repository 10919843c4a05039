"""Replaced-token detection (Clark et al. 2020, ELECTRA, arXiv:2003.10555, section 2).

A generator reads a masked text; tokens drawn from its predictions take the
masked places; the model tells which tokens of the result are not the text's.

Letters: B sequences, T positions, K masked places, V vocabulary.
"""

import jax
import jax.numpy as jnp
from jax import Array

from scaling.config import Masked, ReplacedTokens
from scaling.models.inputs import Inputs
from scaling.objectives.draw import bits, tokens
from scaling.objectives.example import Example
from scaling.objectives.masked import masked


def generator_objective(objective: ReplacedTokens) -> Masked:
    """What the generator learns: the chosen tokens are all masked (eq. 1)."""
    return Masked(rate=objective.rate, mask_share=1.0, random_share=0.0)


def masked_for_generator(objective: ReplacedTokens, ordinary: int, key: Array, text_T: Array) -> Example:
    """One row's example for the generator: no field has its B. ordinary: number of ordinary tokens."""
    return masked(generator_objective(objective), ordinary, _keys(key)[0], text_T)


def replace(example: Example, logits_BKV: Array, keys_B: Array) -> tuple[Inputs, Array, Array]:
    """What the detector reads, and for each of its positions, (B, T) float32, a label and a weight.

    example, keys_B: the generator's example and the keys that it was made
    with. A token is drawn from the softmax of the logits at each masked place.
    The label is 1 where the result is not the text's token: a draw that
    happens to be right counts as not replaced. The weight is 1 on text, 0 on
    the special tokens around it.
    """
    drawn_BK = jax.vmap(_drawn)(keys_B, logits_BKV)
    put = jax.vmap(lambda tokens_T, places_K, new_K: tokens_T.at[places_K].set(new_K))
    original_BT = put(example.inputs.tokens_BT, example.places_BK, example.targets_BK)
    read_BT = put(original_BT, example.places_BK, drawn_BK.astype(original_BT.dtype))
    weights_BT = jnp.ones(read_BT.shape, jnp.float32).at[:, jnp.array([0, -1])].set(0.0)
    labels_BT = (read_BT != original_BT).astype(jnp.float32)
    return example.inputs._replace(tokens_BT=read_BT), labels_BT, weights_BT


def _drawn(key: Array, logits_KV: Array) -> Array:
    (bits_2K,) = bits(_keys(key)[1], 2 * len(logits_KV))
    return tokens(bits_2K, logits_KV)


def _keys(key: Array) -> Array:
    """For the masked places, and for the tokens drawn."""
    return jax.random.split(key)
