"""A document's completion from its prompt, for models that read them apart.

Letters: B pairs, S source, K target, W = S + K + 1 tokens of a window.
"""

import jax.numpy as jnp
from jax import Array

from scaling.config import Lengths
from scaling.objectives.layout import Pair


def completion(longest: Lengths, window_BW: Array) -> Pair:
    """Windows whose first S tokens are a prompt, the next K its completion, the last none; below 0 is no token.

    longest: of the longest shape of batches; those of another are cut in the same proportion.
    """
    source = longest.source * (window_BW.shape[1] - 1) // longest.text
    source_BS, target_BK = window_BW[:, :source], window_BW[:, source:-1]
    return Pair(
        jnp.maximum(source_BS, 0),
        jnp.maximum(target_BK, 0),
        jnp.sum(source_BS >= 0, axis=1, dtype=jnp.int32),
        jnp.sum(target_BK >= 0, axis=1, dtype=jnp.int32),
    )
