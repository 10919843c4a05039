"""Source and target as a model reads them: on two sides, or one behind the other.

An encoder-decoder's encoder reads the source; its decoder reads a start
token and the target without its last token. A decoder, or a prefix model,
reads the source and then the target without its last token; the last token
of the source predicts the first of the target. Padding stands last, where no
earlier position of a causal model sees it and no prefix covers it: only an
encoder must be told of it.

Letters: B sequences, S source, K target, T positions.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from scaling.models.inputs import PADDING, Inputs
from scaling.objectives.example import Example


class Pair(NamedTuple):
    """What is read and what is predicted; each with fillers at its end, or none (None: all of it counts)."""

    source_BS: Array
    target_BK: Array
    source_length_B: Array | None = None
    target_length_B: Array | None = None


def arranged(architecture: str, pair: Pair, positions: int, start: int) -> Example:
    """The pair for a model of the architecture.

    positions: of the decoder or the only stack, static, from `lengths`; fillers
    take what a short pair leaves. start: the token that an encoder-decoder's
    decoder begins with.
    """
    if architecture == "encoder_decoder":
        return _two_sides(pair, start)
    return _one_sequence(pair, positions, architecture == "prefix")


def _two_sides(pair: Pair, start: int) -> Example:
    rows, predicted = pair.target_BK.shape
    first_B1 = jnp.full((rows, 1), start, pair.target_BK.dtype)
    inputs = Inputs(
        tokens_BT=jnp.concatenate([first_B1, pair.target_BK[:, :-1]], axis=1),
        source_BS=pair.source_BS,
        source_documents_BS=_padding(pair),
    )
    return _example(inputs, pair, jnp.broadcast_to(jnp.arange(predicted), (rows, predicted)))


def _one_sequence(pair: Pair, positions: int, prefix: bool) -> Example:
    rows, predicted = pair.target_BK.shape
    width = pair.source_BS.shape[1]
    length_B = jnp.full(rows, width, jnp.int32) if pair.source_length_B is None else pair.source_length_B
    if pair.source_length_B is None:
        tokens_BT = jnp.concatenate([pair.source_BS, pair.target_BK[:, :-1]], axis=1)
    else:
        place_BT = jnp.arange(positions) - length_B[:, None]  # within the target; below 0 within the source
        source_BT = jnp.pad(pair.source_BS, ((0, 0), (0, max(0, positions - width))))[:, :positions]
        target_BT = jnp.take_along_axis(pair.target_BK, jnp.clip(place_BT, 0, predicted - 1), axis=1)
        tokens_BT = jnp.where(place_BT < 0, source_BT, target_BT)
    places_BK = jnp.minimum(length_B[:, None] - 1 + jnp.arange(predicted), positions - 1)
    return _example(Inputs(tokens_BT, prefix_B=length_B if prefix else None), pair, places_BK)


def _example(inputs: Inputs, pair: Pair, places_BK: Array) -> Example:
    target = pair.target_BK
    weights_BK = jnp.ones(target.shape, jnp.float32)
    if pair.target_length_B is not None:
        weights_BK = (jnp.arange(target.shape[1]) < pair.target_length_B[:, None]).astype(jnp.float32)
    return Example(inputs, target, weights_BK, places_BK)


def _padding(pair: Pair) -> Array | None:
    if pair.source_length_B is None:
        return None
    real_BS = jnp.arange(pair.source_BS.shape[1]) < pair.source_length_B[:, None]
    return jnp.where(real_BS, 0, PADDING)
