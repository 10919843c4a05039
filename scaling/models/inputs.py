"""What a model reads and what comes out, whatever its family.

B sequences, T positions, S source positions, D width.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Inputs(NamedTuple):
    """Token ids and what restricts attention between them; None where nothing does.

    Attention joins two positions of equal document only. Padding is a
    document of its own, PADDING: no text token sees it.
    """

    tokens_BT: Array
    documents_BT: Array | None = None
    prefix_B: Array | None = None  # that many first positions are seen by every position (prefix language model)
    types_BT: Array | None = None  # which text of a pair a token belongs to
    source_BS: Array | None = None  # what the encoder of an encoder-decoder reads
    source_documents_BS: Array | None = None  # 0 on text, PADDING on padding


PADDING = -1


class Routing(NamedTuple):
    """What mixtures of experts say beside their output; zero in a dense model. Never part of the fitted loss."""

    loss: Array  # balance and z losses, weighted, summed over layers
    dropped: Array  # share of the visits to experts that found no slot, mean over layers


class States(NamedTuple):
    """The last hidden states, normalised."""

    x_BTD: Array
    routing: Routing


def no_routing() -> Routing:
    return Routing(jnp.zeros(()), jnp.zeros(()))
