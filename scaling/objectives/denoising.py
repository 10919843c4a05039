"""BART's noise (Lewis et al. 2020, arXiv:1910.13461, section 2.2); the whole text is predicted.

Tokens are masked or deleted, or spans of them are infilled: one mask stands
for a span of Poisson length, none included. Sentences may be permuted before.

Letters: T tokens of text, S source without its end, M spans, V vocabulary.
"""

import jax.numpy as jnp
from jax import Array

from scaling.config import Denoising
from scaling.config.lengths import denoising_source, infill_masks, noise_tokens
from scaling.objectives.draw import bits, choose, packed, poisson, shuffled, shuffled_groups
from scaling.objectives.layout import Pair
from scaling.objectives.special_tokens import special


def denoising(
    objective: Denoising, ordinary: int, key: Array, text_T: Array, ends_sentence_V: Array | None = None
) -> Pair:
    """One row's pair; the target is the text with an end token.

    ordinary: number of ordinary tokens. ends_sentence_V: for permute_sentences.
    """
    mask, end = special(ordinary, "mask"), special(ordinary, "end")
    text = len(text_T)
    noise = noise_tokens(text, objective.rate)
    masks = infill_masks(text, objective.rate, objective.mean_span)
    sentence_bits_T, noise_bits_T, length_bits_M, slot_bits_S = bits(key, text, text, masks, text - noise + masks)
    source_T = text_T
    if objective.permute_sentences:
        source_T = permuted(sentence_bits_T, text_T, ends_sentence_V)
    source_length = None
    if objective.noise == "infill":
        source_S, length = infilled(length_bits_M, slot_bits_S, source_T, noise, objective.mean_span, mask)
        place_S = jnp.arange(len(source_S) + 1)
        source_S = jnp.where(place_S < length, jnp.append(source_S, end), end)
        source_length = length + 1
    else:
        noise_T = choose(noise_bits_T, jnp.ones(text, bool), noise)
        if objective.noise == "mask":
            source_S = jnp.append(jnp.where(noise_T, mask, source_T), end)
        else:
            source_S = packed(source_T, ~noise_T, denoising_source(objective, text), end)
    return Pair(source_S, jnp.append(text_T, end), source_length)


def permuted(bits_T: Array, text_T: Array, ends_sentence_V: Array) -> Array:
    """The sentences in random order; what follows the last end is a sentence too."""
    ends_T = ends_sentence_V[text_T].astype(jnp.int32)
    return text_T[shuffled_groups(bits_T, jnp.cumsum(ends_T) - ends_T)]


def infilled(
    length_bits_M: Array, slot_bits_S: Array, text_T: Array, noise: int, mean: float, mask: int
) -> tuple[Array, Array]:
    """The text with masks for spans, and the number of its tokens.

    Spans of Poisson length are drawn until they hold `noise` tokens; the last
    is cut to that. Then every order of masks and tokens that stay is as
    likely. M is the most masks there can be, S the length of the text without
    its noise, plus M.
    """
    # Were all spans but the last too short together, the last would take the rest.
    drawn_M = poisson(length_bits_M, mean).at[-1].set(noise)
    before_M = jnp.cumsum(drawn_M) - drawn_M
    exists_M = before_M < noise
    span_M = jnp.minimum(drawn_M, noise - before_M)

    slots, masks = len(slot_bits_S), len(length_bits_M)
    length = len(text_T) - noise + jnp.sum(exists_M)
    # Slots in random order: the first become the masks, whichever spans these stand for.
    order_S = shuffled(slot_bits_S, jnp.arange(slots) < length)
    slot_M = jnp.where(exists_M, order_S[:masks], slots)
    read_S = jnp.ones(slots, jnp.int32).at[slot_M].set(span_M, mode="drop")  # tokens of text that a slot stands for
    masked_S = jnp.zeros(slots, bool).at[slot_M].set(True, mode="drop")
    place_S = jnp.cumsum(read_S) - read_S
    return jnp.where(masked_S, mask, text_T[jnp.minimum(place_S, len(text_T) - 1)]), length
