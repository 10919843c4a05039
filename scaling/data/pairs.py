"""Batches of prompts and completions, of similar length together, as a pure function of (seed, step).

A run has a few shapes of batches, each with half the length and twice the rows
of the one before. A pair belongs to the shortest that holds it, and every
pass over the data reads each pair once: each shape's pairs in random order,
the batches of all shapes in random order. So any host makes any rows of any
step, nothing is saved, and no pair is left for later: the last batch of a
shape may be partly empty.
"""

# D documents, B rows, S source, K target, W = S + K + 1 tokens of a window; shape n has S / 2^n, K / 2^n and B 2^n

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from scaling.config import RunConfig
from scaling.data.order import PART_SEEDS, PartRead
from scaling.data.shuffle import permuted, shuffled
from scaling.data.sources import DataError
from scaling.data.store import Store, ask_for

NONE = -1  # where a window holds no token, or a row no pair


@dataclass(frozen=True, eq=False, kw_only=True)
class PairOrder:
    """A run's order of batches of pairs."""

    seed: int
    batch: int  # rows of the longest shape
    text: int  # S + K of the longest shape
    documents: tuple[np.ndarray, ...]  # of each shape: which documents of the training stream
    tokens: int  # of all documents, as far as their windows hold them

    @cached_property
    def firsts(self) -> np.ndarray:
        """(shapes + 1,) int64: how many batches of a pass belong to the shapes before."""
        counts = [-(-len(mine) // self.rows(n)) for n, mine in enumerate(self.documents)]
        return np.concatenate([[0], np.cumsum(counts)])

    @property
    def batches(self) -> int:
        """Of a pass."""
        return int(self.firsts[-1])

    @property
    def padding(self) -> float:
        """Share of the positions of a pass that hold no token."""
        return 1 - self.tokens / (self.batches * self.batch * self.text)

    def rows(self, shape: int) -> int:
        return self.batch << shape

    def shape(self, step: int) -> int:
        """Of a step's batch, 0 for the longest."""
        return int(self._shape_and_number(step)[0])

    def chosen(self, step: int, rows: np.ndarray) -> np.ndarray:
        """The documents in these rows of a step's batch, NONE where a row is empty."""
        shape, number = self._shape_and_number(step)
        mine, places = self.documents[shape], number * self.rows(shape) + rows
        there = places < len(mine)
        found = np.full(len(rows), NONE, np.int64)
        seed = self.seed + (shape + 1) * PART_SEEDS
        found[there] = mine[permuted(places[there], len(mine), seed=seed, epoch=step // self.batches)]
        return found

    def counts(self, steps: int) -> np.ndarray:
        """(shapes,) int64: batches of each shape among the first so many."""
        passes, rest = divmod(steps, self.batches)
        return passes * np.diff(self.firsts) + _cumulated(self, passes)[rest]

    def first_steps(self) -> list[int]:
        """A step of each shape that there is, the first."""
        return np.unique(_shapes(self, 0), return_index=True)[1].tolist()

    def read(self, seen: int) -> tuple[PartRead, ...]:
        """What the first so many positions take of the data."""
        return (PartRead(name="all", seen=seen, available=self.batches * self.batch * self.text),)

    def _shape_and_number(self, step: int) -> tuple[int, int]:
        """The shape of a step's batch, and which of that shape's batches of a pass it is."""
        (batch,) = shuffled(np.array([step]), self.batches, seed=self.seed)
        shape = int(np.searchsorted(self.firsts, batch, side="right")) - 1
        return shape, int(batch - self.firsts[shape])


def pair_order(store: Store, run: RunConfig) -> PairOrder:
    """The order of a run's batches."""
    documents, tokens = _by_shape(store, run.lengths.source, run.lengths.positions, run.objective.shapes)
    return PairOrder(seed=run.seed, batch=run.batch, text=run.text, documents=documents, tokens=tokens)


def padding_told(store: Store, run: RunConfig) -> str:
    """How much of a run's batches holds no token, and how much would in one shape."""
    shapes = len(pair_order(store, run).first_steps())
    found, one = (
        pair_order(store, replace(run, objective=replace(run.objective, shapes=n))).padding
        for n in (run.objective.shapes, 1)
    )
    return f"batches of {shapes} shape{'s' * (shapes > 1)}: {found:.1%} padding; in one shape {one:.1%}"


def pairs(store: Store, split: str, documents: np.ndarray, source: int, target: int) -> np.ndarray:
    """Windows of these documents, (B, W) int32: the prompt and an end in the first S places, the completion behind.

    A longer prompt loses its beginning, a longer completion its end. Of no document there is a prompt's end alone.
    """
    stream, ends, completions = (getattr(store, f"{split}{of}") for of in ("", "_ends", "_completions"))
    window_BW = np.full((len(documents), source + target + 1), NONE, np.int32)
    window_BW[documents < 0, 0] = store.manifest.eod
    there = np.flatnonzero(documents >= 0)
    read = documents[there]
    middles = completions[read]
    firsts = np.maximum(np.where(read > 0, ends[read - 1], 0), middles - source + 1)
    lasts = np.minimum(ends[read], middles + target)
    ask_for(stream, firsts, lasts - firsts)
    for row, first, middle, last in zip(*(x.tolist() for x in (there, firsts, middles, lasts)), strict=True):
        window_BW[row, : middle - first] = stream[first:middle]
        window_BW[row, middle - first] = store.manifest.eod
        window_BW[row, source : source + last - middle] = stream[middle:last]
    return window_BW


def heldout_pairs(store: Store, run: RunConfig) -> np.ndarray:
    """Windows of pairs evenly spaced over the validation split, in the longest shape. Raises DataError for too few."""
    count, there = run.data.heldout_sequences, store.manifest.validation.documents
    if there < count:
        raise DataError(
            f"{store.path}: the validation split has {there} documents, but {count} are needed; lower "
            "DataConfig.heldout_sequences, raise DataConfig.validation_fraction, or give more text"
        )
    return pairs(store, "validation", np.arange(count) * there // count, run.lengths.source, run.lengths.positions)


@lru_cache(maxsize=4)  # a study checks thousands of runs against one store
def _by_shape(store: Store, source: int, target: int, shapes: int) -> tuple[tuple[np.ndarray, ...], int]:
    """The documents of each shape, and the tokens of all that their windows hold."""
    begins_D = np.concatenate([[0], store.train_ends[:-1]])
    prompt_D = np.minimum(store.train_completions - begins_D + 1, source)
    completion_D = np.minimum(store.train_ends - store.train_completions, target)
    halvings = np.arange(1, shapes)
    fits_DN = (prompt_D[:, None] <= source >> halvings) & (completion_D[:, None] <= target >> halvings)
    shape_D = fits_DN.sum(axis=1)
    return tuple(np.flatnonzero(shape_D == n) for n in range(shapes)), int((prompt_D + completion_D).sum())


@lru_cache(maxsize=4)
def _shapes(order: PairOrder, epoch: int) -> np.ndarray:
    """The shape of every batch of a pass, (batches,)."""
    batches = permuted(np.arange(order.batches), order.batches, seed=order.seed, epoch=epoch)
    return np.searchsorted(order.firsts, batches, side="right") - 1


@lru_cache(maxsize=4)
def _cumulated(order: PairOrder, epoch: int) -> np.ndarray:
    """(batches + 1, shapes) int64: batches of each shape before each of a pass."""
    each = _shapes(order, epoch)[:, None] == np.arange(len(order.documents))
    return np.concatenate([np.zeros((1, each.shape[1]), np.int64), each.cumsum(axis=0)])
