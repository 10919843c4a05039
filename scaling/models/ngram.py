"""n-grams with interpolated Kneser-Ney smoothing (Chen & Goodman 1999, sections 2.7 and 3).

An n-gram of order k is a path in a tree: its node is known by its parent, the
node of its first k - 1 tokens, and its last token. A level of the tree is one
sorted array of parent * vocab + token, so counting, merging and looking up
are sorts and binary searches over whole arrays, and no order is too long for
an integer.

Sequences begin without context: a token with t tokens before it is predicted
by the model of order min(order, t + 1). No n-gram crosses a sequence's
beginning, and its first token is context, never predicted.

A plain table of contexts, `pseudocounts`, is the other way to make
probabilities of the counts.

Letters: B sequences, W tokens of a window, T = W - 1 predicted tokens, V
vocabulary, G n-grams of one order, sorted; H = contexts of one order, the
n-grams that are one token shorter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scaling.config import NgramConfig

CHUNK_TOKENS = 1 << 20  # of text counted at once, at least; more once more has been seen
ABSENT = -1  # node of an n-gram that was never seen: the last element of what is looked up for it


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each n-gram was seen, up to the model's order."""

    keys: tuple[np.ndarray, ...]  # of orders 2, 3, ...: parent * vocab + token, (G,) int64, ascending
    counts: tuple[np.ndarray, ...]  # of orders 1, 2, ...: (V,), then (G,), int64

    @property
    def vocab(self) -> int:
        return len(self.counts[0])


@dataclass(frozen=True, eq=False)
class Estimate:
    """Absolute discounting at one order, from some kind of counts. Every array ends with a zero, for ABSENT."""

    discount: float  # D
    counts: np.ndarray  # c(hw), (G + 1,) float64
    totals: np.ndarray  # c(h .), the sum over a context's n-grams, (H + 1,) float64
    types: np.ndarray  # N1+(h .), those of them counted at least once, (H + 1,) float64

    def probabilities(self, grams: np.ndarray, contexts: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """p(w | h) of n-grams, given p(w | h without its first token); Chen & Goodman's interpolated form.

        [max(c(hw) - D, 0) + D N1+(h .) p(w | h')] / c(h .), or p(w | h') in an unseen context.
        """
        total = self.totals[contexts]
        kept = np.maximum(self.counts[grams] - self.discount, 0)
        given = self.discount * self.types[contexts] * shorter
        return np.where(total > 0, (kept + given) / np.maximum(total, 1), shorter)


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Counts made into probabilities; one estimate an order, from 1 on."""

    counts: Counts
    raw: tuple[Estimate, ...]  # from how often an n-gram was seen: the highest order in use
    continued: tuple[Estimate, ...]  # from how many tokens it was seen after: all orders below


def empty(model: NgramConfig) -> Counts:
    """No n-gram at all."""
    longer = tuple(np.zeros(0, np.int64) for _ in range(model.order - 1))
    return Counts(longer, (np.zeros(model.vocab, np.int64), *longer))


def count(model: NgramConfig, windows: Iterable[np.ndarray]) -> Counts:
    """The n-grams of a stream of (B, W) token arrays of one W.

    Windows are gathered until they are as long as all before, so that the
    merges cost little more than the counting. Raises ValueError where a
    token is not in the vocabulary.
    """
    total, seen, held, waiting = empty(model), 0, [], 0
    for window_BW in windows:
        held.append(np.asarray(window_BW))
        waiting += held[-1].size
        if waiting >= max(CHUNK_TOKENS, seen):
            total = merge(total, _counted(model, np.concatenate(held)))
            seen, held, waiting = seen + waiting, [], 0
    return merge(total, _counted(model, np.concatenate(held))) if held else total


def merge(one: Counts, other: Counts) -> Counts:
    """The counts of two texts together."""
    vocab, keys, counts = one.vocab, [], [one.counts[0] + other.counts[0]]
    places = np.arange(vocab), np.arange(vocab)  # where the nodes of each are found in the merged level
    for level, (mine, yours) in enumerate(zip(one.keys, other.keys, strict=True), start=1):
        # Parents keep their order, so both stay sorted, and a stable sort merges the two runs in one pass.
        mine, yours = places[0][mine // vocab] * vocab + mine % vocab, places[1][yours // vocab] * vocab + yours % vocab
        both = np.sort(np.concatenate([mine, yours]), kind="stable")
        keys.append(both[np.diff(both, prepend=-1) > 0])
        places = np.searchsorted(keys[-1], mine), np.searchsorted(keys[-1], yours)
        counts.append(np.zeros(len(keys[-1]), np.int64))
        counts[-1][places[0]] += one.counts[level]
        counts[-1][places[1]] += other.counts[level]
    return Counts(tuple(keys), tuple(counts))


def smooth(counts: Counts) -> Smoothed:
    """The discounts and totals of every order.

    Below the highest order an n-gram counts as often as it has different
    tokens before it (Kneser & Ney 1995).
    """
    vocab = counts.vocab
    raw = [_estimate(c, _parents(counts, order)) for order, c in enumerate(counts.counts, start=1)]
    continued, suffixes = [], np.zeros(vocab, np.int64)  # nodes of the n-grams without their first token
    for order, keys in enumerate(counts.keys, start=1):
        suffixes = _find(counts, order, suffixes[keys // vocab], keys % vocab)
        befores = np.bincount(suffixes, minlength=len(counts.counts[order - 1]))
        continued.append(_estimate(befores, _parents(counts, order)))
    return Smoothed(counts, tuple(raw), tuple(continued))


def losses(smoothed: Smoothed, window_BW: np.ndarray) -> np.ndarray:
    """Nats of every token of the windows but the first, (B, T) float64; finite for every token."""
    counts, window_BW = smoothed.counts, np.asarray(window_BW, np.int64)
    _check(window_BW, counts.vocab)
    predicted = window_BW[:, 1:].reshape(-1)
    positions = np.broadcast_to(np.arange(window_BW.shape[1] - 1), window_BW[:, 1:].shape).reshape(-1)
    contexts = np.zeros_like(predicted)  # the root; then the n-grams that end before the predicted token
    shorter = np.full(predicted.shape, 1 / counts.vocab)
    found = np.empty(predicted.shape)
    nodes_BW = np.zeros_like(window_BW)
    for order, raw in enumerate(smoothed.raw, start=1):
        nodes_BW = _extended(counts, order, nodes_BW, window_BW)
        grams = nodes_BW[:, 1:].reshape(-1)
        # A token with t before it, t from 1, is settled by order min(order, t + 1): later orders overwrite.
        reached = positions + 2 >= order
        found = np.where(reached, raw.probabilities(grams, contexts, shorter), found)
        if order <= len(smoothed.continued):
            shorter = smoothed.continued[order - 1].probabilities(grams, contexts, shorter)
        contexts = nodes_BW[:, :-1].reshape(-1)
    return -np.log(found).reshape(len(window_BW), -1)


def table_losses(counts: Counts, window_BW: np.ndarray, pseudocounts: float) -> np.ndarray:
    """Nats of every token of the windows but the first, (B, T) float64, by the contexts of the longest order alone.

    p(w | h) = (c(hw) + pseudocounts / V) / (c(h .) + pseudocounts). A token
    with fewer tokens before it has all of them as its context.
    """
    window_BW = np.asarray(window_BW, np.int64)
    _check(window_BW, counts.vocab)
    found_BT = np.empty(window_BW[:, 1:].shape)
    contexts_BT = np.zeros(found_BT.shape, np.int64)
    nodes_BW = np.zeros_like(window_BW)
    for order, raw in enumerate(counts.counts, start=1):
        nodes_BW = _extended(counts, order, nodes_BW, window_BW)
        nodes, held = _parents(counts, order)
        totals = np.bincount(nodes, weights=raw, minlength=held + 1)  # the last is of ABSENT
        seen_BT = np.append(raw, 0)[nodes_BW[:, 1:]] + pseudocounts / counts.vocab
        chances_BT = seen_BT / (totals[contexts_BT] + pseudocounts)
        found_BT[:, max(0, order - 2) :] = chances_BT[:, max(0, order - 2) :]
        contexts_BT = nodes_BW[:, :-1]
    return -np.log(found_BT)


def size(counts: Counts) -> int:
    """Different n-grams that are stored, of all orders: the model's parameters."""
    return sum(np.count_nonzero(c) for c in counts.counts)


def to_arrays(counts: Counts) -> dict[str, np.ndarray]:
    """Counts as named arrays, for a checkpoint."""
    named = {f"keys_{order}": keys for order, keys in enumerate(counts.keys, start=2)}
    return named | {f"counts_{order}": c for order, c in enumerate(counts.counts, start=1)}


def from_arrays(arrays: dict[str, np.ndarray]) -> Counts:
    """What `to_arrays` wrote."""
    orders = sum(name.startswith("counts_") for name in arrays)
    keys = tuple(np.asarray(arrays[f"keys_{order}"]) for order in range(2, orders + 1))
    return Counts(keys, tuple(np.asarray(arrays[f"counts_{order}"]) for order in range(1, orders + 1)))


def _counted(model: NgramConfig, window_BW: np.ndarray) -> Counts:
    """The n-grams of one array of windows. Every predicted token ends one n-gram of each order that fits."""
    window_BW = window_BW.astype(np.int64)
    _check(window_BW, model.vocab)
    counts = [np.bincount(window_BW[:, 1:].reshape(-1), minlength=model.vocab)]
    keys, nodes_BX = [], window_BW  # nodes of the n-grams of one order, by where they begin
    for order in range(2, model.order + 1):
        if window_BW.shape[1] < order:  # no n-gram of this length fits
            keys.append(np.zeros(0, np.int64))
            counts.append(np.zeros(0, np.int64))
            continue
        all_keys = nodes_BX[:, :-1] * model.vocab + window_BW[:, order - 1 :]
        if model.rows is not None:  # of order 2 alone: what follows a token without a row is not kept
            all_keys = all_keys[nodes_BX[:, :-1] < model.rows]
        found, nodes, times = np.unique(all_keys, return_inverse=True, return_counts=True)
        keys.append(found)
        counts.append(times)
        nodes_BX = nodes.reshape(all_keys.shape)
    return Counts(tuple(keys), tuple(counts))


def _extended(counts: Counts, order: int, nodes_BW: np.ndarray, window_BW: np.ndarray) -> np.ndarray:
    """Nodes of the n-grams of one order by where they end, given those of the order below."""
    before_BW = np.pad(nodes_BW[:, :-1], ((0, 0), (1, 0)), constant_values=ABSENT) if order > 1 else nodes_BW
    return _find(counts, order, before_BW, window_BW)


def _find(counts: Counts, order: int, parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Nodes of the n-grams of one order, ABSENT where there is none. At order 1 all parents are the root, 0."""
    if order == 1:
        return tokens
    keys = counts.keys[order - 2]
    if not len(keys):
        return np.full(tokens.shape, ABSENT)
    wanted = parents * counts.vocab + tokens
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((parents != ABSENT) & (keys[places] == wanted), places, ABSENT)


def _parents(counts: Counts, order: int) -> tuple[np.ndarray, int]:
    """The context of each n-gram of one order, and how many contexts there are."""
    if order == 1:
        return np.zeros(counts.vocab, np.int64), 1
    return counts.keys[order - 2] // counts.vocab, len(counts.counts[order - 2])


def _estimate(counts: np.ndarray, parents: tuple[np.ndarray, int]) -> Estimate:
    """One discount an order, D = n1 / (n1 + 2 n2) (Ney, Essen & Kneser 1994): n1 n-grams are counted once, n2 twice.

    Where none is counted once the formula takes nothing away, and what was
    never seen would be impossible; then D = 1/2.
    """
    nodes, contexts = parents
    once, twice = np.count_nonzero(counts == 1), np.count_nonzero(counts == 2)
    return Estimate(
        discount=once / (once + 2 * twice) if once else 0.5,
        counts=np.append(counts, 0.0),
        totals=np.bincount(nodes, weights=counts, minlength=contexts + 1),
        types=np.bincount(nodes, weights=counts > 0, minlength=contexts + 1),
    )


def _check(window_BW: np.ndarray, vocab: int) -> None:
    if window_BW.size and not 0 <= window_BW.min() <= window_BW.max() < vocab:
        raise ValueError(
            f"n-grams: tokens from {window_BW.min()} to {window_BW.max()} with NgramConfig.vocab={vocab}; "
            "vocab must be that of the data"
        )
