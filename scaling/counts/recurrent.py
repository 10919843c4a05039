"""Recurrent models: the parameters of their body and the work of one sequence; see `models.recurrent`."""

from typing import NamedTuple

from scaling.config import RecurrentConfig

GATES = {"rnn": 1, "lstm": 4}


class Part(NamedTuple):
    """Parameters that are applied together."""

    weights: int = 0  # elements of matrices
    vectors: int = 0


class Body(NamedTuple):
    """What is applied to each token of the text, to each of the source, and once a sequence."""

    target: Part
    source: Part
    sequence: Part

    @property
    def total(self) -> int:
        return sum(part.weights + part.vectors for part in self)


def body(model: RecurrentConfig) -> Body:
    """Everything but embedding and head.

    With an encoder: its layers read in both directions, half the width each;
    the first layer of the decoder reads the context beside the token.
    """
    dim, gates, translates = model.dim, GATES[model.cell], model.architecture == "encoder_decoder"
    cells = model.layers * _cell(dim, dim, gates)
    biases = model.layers * gates * dim
    if not translates:
        return Body(Part(cells, biases), Part(), Part())
    context, query, combine = dim * gates * dim, dim**2, 3 * dim**2
    return Body(
        # Of additive attention the score is a vector: its products are counted with the pairs.
        target=Part(cells + context + query + combine, biases + dim),
        source=Part(model.layers * 2 * _cell(dim, dim // 2, gates) + dim**2, biases),
        sequence=Part(dim // 2 * dim),
    )


def _cell(fan_in: int, hidden: int, gates: int) -> int:
    """Elements of the matrices from input and state to the gates."""
    return (fan_in + hidden) * gates * hidden
