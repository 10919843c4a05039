"""What an objective makes of a stretch of text.

B sequences, K predicted tokens.
"""

from typing import NamedTuple

from jax import Array

from scaling.models.inputs import Inputs


class Example(NamedTuple):
    """Inputs, and the tokens to predict from them, in static shapes."""

    inputs: Inputs
    targets_BK: Array  # tokens to predict
    weights_BK: Array  # float32: 1 where a target bears loss, 0 where it is a filler
    places_BK: Array  # position of the inputs whose state predicts each target
    next_B: Array | None = None  # masked with next_sentence: 1 where the second text follows the first
