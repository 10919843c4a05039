"""Span corruption: sentinels stand for spans of the source, the target spells them out.

T5 (Raffel et al. 2020, arXiv:1910.10683, section 3.1.4) and, with seven
settings and a token that names the kind, UL2 (Tay et al. 2022,
arXiv:2205.05131, section 3.1).

Letters: T tokens of text, S source, K target.
"""

import jax.numpy as jnp
from jax import Array

from scaling.config import SpanCorruption
from scaling.config.lengths import noise_spans, noise_tokens, span_lengths, ul2_denoisers, ul2_lengths
from scaling.objectives.draw import bits, choose, packed
from scaling.objectives.layout import Pair
from scaling.objectives.special_tokens import sentinel, special


def noise_mask(noise_bits_T: Array, stay_bits_T: Array, noise: int | Array, spans: int | Array) -> Array:
    """Which tokens lie in a span, (T,) bool: `noise` tokens in `spans` spans.

    The noise, and what stays, are each cut into `spans` parts at places drawn
    at random; the parts alternate, beginning with one that stays. So a single
    span is the end of the text. noise, spans: may be traced; spans is at most
    noise and at most text - noise.
    """
    place_T = jnp.arange(len(noise_bits_T))
    stay = len(noise_bits_T) - noise
    # First a list of all tokens that stay, then of all noise; a cut begins a part.
    noisy_T = place_T >= stay
    stay_cuts_T = choose(stay_bits_T, (place_T > 0) & ~noisy_T, spans - 1)
    noise_cuts_T = choose(noise_bits_T, place_T > stay, spans - 1)
    part_T = jnp.cumsum(stay_cuts_T | noise_cuts_T) - jnp.where(noisy_T, spans - 1, 0)
    # Sorted by part, what stays before noise, the lists interleave.
    return jnp.sort(2 * part_T + noisy_T) % 2 == 1


def corrupted(
    ordinary: int, text_T: Array, noise_T: Array, source: int, target: int, marked: bool | Array = True
) -> tuple[Array, Array]:
    """Source and target with an end token each, fillers behind it.

    source, target: their lengths. marked: whether sentinels stand for spans;
    may be traced.
    """
    end = special(ordinary, "end")
    begins_T = noise_T & ~jnp.append(False, noise_T[:-1])
    sentinels_T = sentinel(ordinary, jnp.cumsum(begins_T) - 1)
    begins_T = begins_T & marked
    source_T = jnp.where(noise_T, sentinels_T, text_T)
    target_T2 = jnp.stack([sentinels_T, text_T], axis=1)
    kept_T2 = jnp.stack([begins_T, noise_T], axis=1)
    return (
        packed(jnp.append(source_T, end), jnp.append(begins_T | ~noise_T, True), source, end),
        packed(jnp.append(target_T2, end), jnp.append(kept_T2, True), target, end),
    )


def span_corruption(objective: SpanCorruption, ordinary: int, key: Array, text_T: Array) -> Pair:
    """One row's pair; `ordinary` is the number of ordinary tokens."""
    text = len(text_T)
    noise, spans = noise_tokens(text, objective.rate), noise_spans(text, objective.rate, objective.mean_span)
    noise_T = noise_mask(*bits(key, text, text), noise, spans)
    return Pair(*corrupted(ordinary, text_T, noise_T, *span_lengths(text, objective.rate, objective.mean_span)))


def ul2(ordinary: int, key: Array, text_T: Array) -> Pair:
    """One row's pair, by one of the seven denoisers, each as likely. Its kind's token begins the source."""
    text = len(text_T)
    which_1, *noise_bits = bits(key, 1, text, text)
    denoisers = ul2_denoisers(text)
    columns = [(d.noise, d.spans, d.marked, special(ordinary, d.mode)) for d in denoisers]
    noise, spans, marked, mode = jnp.array(columns, text_T.dtype)[which_1[0] % len(denoisers)]
    source, target = ul2_lengths(text)
    noise_T = noise_mask(*noise_bits, noise, spans)
    source_S, target_K = corrupted(ordinary, text_T, noise_T, source - 1, target, marked == 1)
    sentinels = spans * marked
    return Pair(jnp.append(mode, source_S), target_K, text - noise + sentinels + 2, noise + sentinels + 1)
