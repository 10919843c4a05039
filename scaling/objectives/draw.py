"""Random choices in static shapes: subsets, orders, Poisson numbers, and tokens from logits.

All are functions of random bits, uint32: a row asks for all of its bits at
once, for every call of the generator adds to the time to compile a step.

A subset or an order is one sort of whole numbers, tickets, whose high bits
are random and whose low bits are the place. No two are equal, so counts are
exact, and on CPUs such a sort is several times as fast as an argsort.

Letters: T places, N slots before packing, K draws, V vocabulary, G blocks of L tokens.
"""

from math import isqrt, lgamma, log, sqrt

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

LONGEST_ORDER = (1 << 16) - 1  # places of shuffled_groups: two are packed into 32 bits
_LAST = 0xFFFFFFFF  # the ticket of a place that is not able


def bits(key: Array, *sizes: int) -> list[Array]:
    """Random uint32 of each size."""
    return jnp.split(jax.random.bits(key, (sum(sizes),), jnp.uint32), np.cumsum(sizes[:-1]))


def uniform(bits: Array) -> Array:
    """Numbers in [0, 1), float32, of the bits' shape: multiples of 2^-24."""
    return (bits >> 8).astype(jnp.float32) * 2.0**-24


def choose(bits_T: Array, able_T: Array, count: int | Array) -> Array:
    """Exactly `count` of the able places, every such set as likely, (T,) bool.

    count: at most the number of able places; it may be traced.
    """
    tickets_T = _tickets(bits_T, able_T)
    first_unchosen = jnp.append(jnp.sort(tickets_T), jnp.uint32(_LAST))[count]
    return tickets_T < first_unchosen


def shuffled(bits_T: Array, able_T: Array) -> Array:
    """The able places in random order, then numbers beyond all places, (T,) int32."""
    return _places(jnp.sort(_tickets(bits_T, able_T)))


def shuffled_groups(bits_T: Array, group_T: Array) -> Array:
    """All places, the groups in random order, the places of each in their own, (T,) int32.

    group_T: below T, the group of each place. Raises ValueError beyond LONGEST_ORDER places.
    """
    length = len(group_T)
    if length > LONGEST_ORDER:
        raise ValueError(
            f"objective.text: {length} tokens to permute by words or sentences, at most {LONGEST_ORDER}; shorten it"
        )
    rank_T = shuffled(bits_T, jnp.ones(length, bool))  # of group 0, 1, ...
    tickets_T = rank_T[group_T].astype(jnp.uint32) << length.bit_length() | jnp.arange(length, dtype=jnp.uint32)
    return _places(jnp.sort(tickets_T))


def packed(values_N: Array, kept_N: Array, size: int, filler: int) -> Array:
    """The kept values moved to the front, fillers behind them, (size,)."""
    slot_N = jnp.where(kept_N, jnp.cumsum(kept_N) - 1, size)
    return jnp.full(size, filler, values_N.dtype).at[slot_N].set(values_N, mode="drop")


def poisson(bits_K: Array, mean: float) -> Array:
    """Poisson numbers, (K,) int32, by inverting the distribution function of a static mean."""
    largest = int(mean + 10 * sqrt(mean)) + 20  # beyond it lies less than the uniform numbers resolve
    share = np.exp([number * log(mean) - mean - lgamma(number + 1) for number in range(largest)])
    reached = uniform(bits_K)[:, None] >= np.cumsum(share).astype(np.float32)
    return jnp.sum(reached, axis=1, dtype=jnp.int32)


def tokens(bits_2K: Array, logits_KV: Array) -> Array:
    """A token from the softmax of each row of logits, (K,): a block of tokens first, then one in it.

    Two random numbers a token instead of V: on CPUs over ten times as fast as
    adding a Gumbel number to each logit.
    """
    return jax.vmap(_token)(uniform(bits_2K).reshape(-1, 2), logits_KV)


def _token(uniform_2: Array, logits_V: Array) -> Array:
    vocab = len(logits_V)
    width = isqrt(vocab)
    shares_V = jnp.exp((logits_V - jnp.max(logits_V)).astype(jnp.float32))
    shares_GL = jnp.pad(shares_V, (0, -vocab % width)).reshape(-1, width)
    block = _index(uniform_2[0], jnp.sum(shares_GL, axis=1))
    return jnp.minimum(block * width + _index(uniform_2[1], shares_GL[block]), vocab - 1)


def _index(uniform: Array, shares: Array) -> Array:
    """Where the number, times the sum of the shares, falls."""
    cumulated = jnp.cumsum(shares)
    return jnp.minimum(jnp.sum(cumulated <= uniform * cumulated[-1], dtype=jnp.int32), len(shares) - 1)


def _tickets(bits_T: Array, able_T: Array) -> Array:
    length = len(able_T)
    low = length.bit_length()  # enough for `length` itself: a ticket never has all bits set, as _LAST has
    return jnp.where(able_T, bits_T >> low << low | jnp.arange(length, dtype=jnp.uint32), jnp.uint32(_LAST))


def _places(tickets_T: Array) -> Array:
    """The low bits; of _LAST a number that is no place."""
    return (tickets_T & jnp.uint32((1 << len(tickets_T).bit_length()) - 1)).astype(jnp.int32)
