"""The Zipf world: a context and its answer, a context and its answer, ...

As a Markov chain over characters: after an answer the document ends with
chance 1 / facts, else a context follows; after the end of a document a context
follows; after a context its answer. So a table of single characters is all
that a reader needs.

Letters: K contexts, A answers, F facts of a document.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scaling.config.worlds import FIRST_CONTEXT, ZipfWorld
from scaling.data.worlds.draw import integers, order, uniforms

FIRST_ANSWER = ord("a")


@dataclass(frozen=True, eq=False)
class Law:
    """What the world's seed settles."""

    chances_K: np.ndarray  # of the contexts, the most frequent first; they fall as k^-(1 + alpha)
    edges_K: np.ndarray  # their running sum; the last is 1
    answers_K: np.ndarray  # int64, the right answer of each, 0 .. A - 1
    characters_K: np.ndarray  # int64, the code point of each

    @property
    def contexts(self) -> int:
        return len(self.chances_K)


@lru_cache(maxsize=8)
def law(world: ZipfWorld) -> Law:
    """The contexts' chances, right answers and characters."""
    weights = np.arange(1, world.contexts + 1, dtype=np.float64) ** -(1 + world.alpha)
    chances = weights / weights.sum()
    edges = np.cumsum(chances)
    edges[-1] = 1.0
    return Law(
        chances_K=chances,
        edges_K=edges,
        answers_K=integers("zipf answers", world.seed, world.answers, world.contexts),
        characters_K=FIRST_CONTEXT + _places(world),
    )


def _places(world: ZipfWorld) -> np.ndarray:
    """(K,) of each context, the commonest first, its place among the characters."""
    if world.characters == "by_rank":
        return np.arange(world.contexts)
    return order("zipf characters", world.seed, world.contexts)


def text(world: ZipfWorld, index: int) -> str:
    """A document."""
    known, name = law(world), f"zipf document {index}"
    length = float(uniforms(f"{name} length", world.seed, 1)[0])
    facts = 1 + int(np.log1p(-length) / np.log1p(-1 / world.facts))
    context_F, noise_F, other_F = uniforms(name, world.seed, 3 * facts).reshape(3, facts)
    contexts = np.searchsorted(known.edges_K, context_F, side="right")
    others = (other_F * world.answers).astype(np.int64)
    answers = np.where(noise_F < world.noise, others, known.answers_K[contexts])
    characters = np.stack([known.characters_K[contexts], FIRST_ANSWER + answers], axis=1)
    return characters.astype("<u4").tobytes().decode("utf-32-le")


def nats(world: ZipfWorld, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """-ln P of characters given those before them, by the law itself; -1 stands for the end of a document.

    before, after: integers of one shape, code points. A pair that the world
    cannot produce has infinitely many nats.
    """
    known = law(world)
    rank = np.full(world.code_points, -1)
    rank[known.characters_K] = np.arange(known.contexts)
    begins = before < FIRST_CONTEXT  # the end of a document, or an answer
    chances = np.where(begins, _begun(world, rank, before, after), _answered(world, rank, before, after))
    with np.errstate(divide="ignore"):
        return -np.log(chances)


def _begun(world: ZipfWorld, rank: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Chance of what follows the end of a document or an answer."""
    ends = np.where(before == -1, 0.0, 1 / world.facts)
    found = np.append(law(world).chances_K, 0.0)[rank[np.maximum(after, 0)]]
    return np.where(after == -1, ends, (1 - ends) * found)


def _answered(world: ZipfWorld, rank: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Chance of an answer to a context."""
    right = law(world).answers_K[rank[np.maximum(before, 0)]] == after - FIRST_ANSWER
    possible = (after >= FIRST_ANSWER) & (after < FIRST_ANSWER + world.answers)
    return possible * (world.noise / world.answers + right * (1 - world.noise))
