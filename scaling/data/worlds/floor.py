"""The least loss: the entropy of a world's text, exactly."""

import math
from dataclasses import dataclass

import numpy as np

from scaling.config.worlds import HierarchyWorld, World, ZipfWorld
from scaling.data.worlds import hierarchy, tasks, zipf


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The expected loss of a reader that knows the world's law, over a long text.

    Per token where a character is a token and a document's end is one, as with
    tokenizer="characters", or "bytes" for a text of ASCII.
    """

    nats: float  # of a fact, or a line
    tokens: float  # of the same, its share of the document's end included
    bytes: float  # of UTF-8

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        return self.nats / self.bytes / math.log(2)


def floor(world: World) -> Floor:
    """Where the reader has seen the whole document so far. In a Zipf world the character before is enough.

    In the others a document has so many lines, and its end can be foreseen:
    it costs a token and no nats. A reader with a shorter memory is surprised by it.
    """
    if isinstance(world, ZipfWorld):
        return _zipf(world)
    if isinstance(world, HierarchyWorld):
        length = world.branching**world.depth + 1
        return Floor(nats=hierarchy.choices(world), tokens=length + 1 / world.sentences, bytes=length)
    length = tasks.line_length(world)
    return Floor(nats=tasks.choices(world), tokens=length + 1 / world.lines, bytes=length)


def _zipf(world: ZipfWorld) -> Floor:
    """Of a fact: does the document end before it, which context is it, what is its answer?"""
    known = zipf.law(world)
    ends = 1 / world.facts
    wrong = world.noise / world.answers
    answers = [wrong] * (world.answers - 1) + [1 - world.noise + wrong]
    nats = entropy(known.chances_K) + entropy([ends, 1 - ends]) + entropy(answers)
    sizes = np.where(known.characters_K < 0x800, 2, 3)  # UTF-8 bytes of a context
    return Floor(nats=nats, tokens=2 + ends, bytes=float(known.chances_K @ sizes) + 1)


def entropy(chances: np.ndarray | list[float]) -> float:
    """Nats of one draw."""
    chances = np.asarray(chances)
    chances = chances[chances > 0]
    return float(-chances @ np.log(chances))
