"""Masked language modelling (Devlin et al. 2019, arXiv:1810.04805, section 3.1), with options.

Whole words may be chosen, and pairs of texts. The model reads [CLS] text [SEP], or [CLS] first [SEP] second [SEP].

Letters: B sequences, T tokens of text, K masked places, V vocabulary.
"""

import jax
import jax.numpy as jnp
from jax import Array

from scaling.config import Masked
from scaling.config.lengths import noise_tokens
from scaling.models.inputs import Inputs
from scaling.objectives.draw import bits, choose, packed, shuffled_groups, uniform
from scaling.objectives.example import Example
from scaling.objectives.special_tokens import special


def masked(
    objective: Masked,
    ordinary: int,
    key: Array,
    text_T: Array,
    begins_word_V: Array | None = None,
    other_T: Array | None = None,
) -> Example:
    """One row's example: no field has its B.

    ordinary: number of ordinary tokens. begins_word_V: for whole_words.
    other_T: another text, for next_sentence.
    """
    text = len(text_T)
    capacity = noise_tokens(text, objective.rate)
    pair_1, place_bits_T, share_bits_K, token_bits_K = bits(key, 1, text, capacity, capacity)
    begins_T = jnp.arange(text) == 0
    follows = None
    if objective.next_sentence:
        follows = pair_1[0] % 2 == 0
        second_T = jnp.arange(text) >= text // 2
        text_T = jnp.where(second_T & ~follows, other_T, text_T)
        begins_T |= jnp.arange(text) == text // 2
    if objective.whole_words:
        chosen_T = whole_words(place_bits_T, begins_T | begins_word_V[text_T], capacity)
    else:
        chosen_T = choose(place_bits_T, jnp.ones(text, bool), capacity)

    place_K = packed(jnp.arange(text), chosen_T, capacity, text)  # fillers lie beyond the text
    target_K = text_T[jnp.minimum(place_K, text - 1)]
    new_K = _changed(objective, ordinary, share_bits_K, token_bits_K, target_K)
    changed_T = text_T.at[place_K].set(new_K, mode="drop")
    inputs, shift_T = _framed(objective, ordinary, changed_T)
    real_K = place_K < text
    place_K = jnp.minimum(place_K, text - 1)
    return Example(
        inputs=inputs,
        targets_BK=target_K,
        weights_BK=real_K.astype(jnp.float32),
        places_BK=place_K + shift_T[place_K],
        next_B=None if follows is None else follows.astype(jnp.int32),
    )


def whole_words(bits_T: Array, begins_T: Array, capacity: int) -> Array:
    """Which tokens to predict: words in random order, each that still fits, at most `capacity` tokens; (T,) bool."""
    place_T = jnp.arange(len(begins_T))
    word_T = jnp.cumsum(begins_T) - 1
    length_T = jnp.zeros_like(place_T).at[word_T].add(1)[word_T]
    rest_T = length_T - (place_T - jax.lax.cummax(jnp.where(begins_T, place_T, 0))) - 1  # tokens behind, in its word
    order_T = shuffled_groups(bits_T, word_T)
    length_T, rest_T = length_T[order_T], rest_T[order_T]

    def fitting(taken_T: Array) -> tuple[Array, Array]:
        room = capacity - jnp.sum(taken_T)
        return ~taken_T & (length_T <= room), room

    def take(taken_T: Array) -> Array:
        # All words up to the first that finds too little room left; it fits in no later round either.
        fit_T, room = fitting(taken_T)
        return taken_T | (fit_T & (jnp.cumsum(fit_T) + rest_T <= room))

    taken_T = jax.lax.while_loop(lambda taken_T: jnp.any(fitting(taken_T)[0]), take, jnp.zeros_like(begins_T))
    return jnp.zeros_like(taken_T).at[order_T].set(taken_T)


def _changed(objective: Masked, ordinary: int, share_bits_K: Array, token_bits_K: Array, tokens_K: Array) -> Array:
    """What stands at the chosen places: the mask, a random ordinary token, or the token itself."""
    share_K = uniform(share_bits_K)
    random_K = (token_bits_K % ordinary).astype(tokens_K.dtype)
    kept_K = jnp.where(share_K < objective.mask_share + objective.random_share, random_K, tokens_K)
    return jnp.where(share_K < objective.mask_share, special(ordinary, "mask"), kept_K)


def _framed(objective: Masked, ordinary: int, text_T: Array) -> tuple[Inputs, Array]:
    """The text among its special tokens, and by how much each of its tokens has moved."""
    text = len(text_T)
    first, separator = special(ordinary, "class"), special(ordinary, "separator")
    if not objective.next_sentence:
        return Inputs(jnp.pad(text_T, 1, constant_values=(first, separator))), jnp.ones(text, jnp.int32)
    half = text // 2
    left_T = jnp.pad(text_T[:half], 1, constant_values=(first, separator))
    tokens_T = jnp.concatenate([left_T, jnp.append(text_T[half:], separator)])
    types_T = (jnp.arange(text + 3) >= len(left_T)).astype(jnp.int32)
    return Inputs(tokens_T, types_BT=types_T), 1 + (jnp.arange(text) >= half)
