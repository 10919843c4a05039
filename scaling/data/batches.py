"""Batches as a pure function of (seed, step, batch size), and the held-out set.

A split's stream is cut into windows of context + 1 tokens, one every
`context` tokens: inputs are a window without its last token, targets without
its first. A run reads the windows in an order drawn anew for every epoch;
any host computes any rows of any step by itself, and nothing need be saved.
"""

# B sequences, T positions, W = T + 1 tokens of a window

from dataclasses import dataclass

import numpy as np

from scaling.config import RunConfig
from scaling.data.shuffle import shuffled
from scaling.data.sources import DataError
from scaling.data.store import Store

OTHERS_SEED = 1 << 32  # beyond the seeds of runs: windows paired with a run's own come in another order


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows of text that one step trains on, or that a loss is measured on."""

    window: np.ndarray  # (B, W) int32, W = context + 1
    documents: np.ndarray  # (B, T) int32: 0 for a row's first document, 1 for its next, ...
    others: np.ndarray | None = None  # (B, W) int32: another window for each, where an objective pairs texts

    @property
    def inputs(self) -> np.ndarray:
        """(B, T)"""
        return self.window[:, :-1]

    @property
    def targets(self) -> np.ndarray:
        """(B, T): the token after each input."""
        return self.window[:, 1:]


def windows(stream: np.ndarray, context: int) -> int:
    """Whole windows of context + 1 tokens, each sharing one token with the next."""
    return max(0, len(stream) - 1) // context


def batch(
    store: Store,
    *,
    seed: int,
    step: int,
    batch: int,
    context: int,
    rows: np.ndarray | None = None,
    pairs: bool = False,
) -> Batch:
    """The sequences of one step.

    step: 0, 1, ... batch: sequences a step, over all hosts. rows: which of
    them to make, default all. Step s reads places s * batch, s * batch + 1,
    ... of the run's endless order of windows. pairs: with another window each,
    from an order of their own.
    """
    count = windows(store.train, context)
    if count == 0:
        raise _too_short(store, "train", 1, context)
    rows = np.arange(batch) if rows is None else np.asarray(rows)
    places = step * batch + rows
    others = shuffled(places, count, seed=seed + OTHERS_SEED) if pairs else None
    return _cut(store, store.train, shuffled(places, count, seed=seed), others, context)


def heldout(store: Store, *, context: int, sequences: int, pairs: bool = False) -> Batch:
    """`sequences` windows, evenly spaced over the validation split: the same for every run.

    Raises DataError if the validation split has fewer windows.
    """
    count = _heldout_windows(store, context, sequences)
    chosen = np.arange(sequences) * count // sequences
    return _cut(store, store.validation, chosen, np.roll(chosen, 1) if pairs else None, context)


def check_enough(store: Store, run: RunConfig) -> None:
    """Raise DataError if the store cannot serve the run, before any training starts."""
    if store.manifest.vocab != run.data.vocab:
        raise DataError(
            f"{store.path}: {store.manifest.vocab} tokens in the vocabulary, but DataConfig.vocab={run.data.vocab}; "
            "prepare the data again with that vocabulary"
        )
    if run.data.content not in ("", store.manifest.content):
        raise DataError(
            f"{store.path}: content {store.manifest.content[:12]}, but the run was planned on "
            f"{run.data.content[:12]}; open the store that `prepare` returns for this run"
        )
    _heldout_windows(store, run.text, run.data.heldout_sequences)
    available = windows(store.train, run.text) * run.text
    if available == 0:
        raise _too_short(store, "train", 1, run.text)
    epochs = run.tokens / available
    if epochs > run.data.max_epochs:
        raise DataError(
            f"RunConfig.tokens={run.tokens:,}, but {store.path} has {available:,} training tokens: "
            f"that is {epochs:.2f} epochs, and DataConfig.max_epochs={run.data.max_epochs:g}; "
            f"give more text, train on fewer tokens, or allow it with max_epochs={np.ceil(epochs * 100) / 100:g}"
        )


def tokens_read(store: Store, tokens_seen: int, context: int = 1) -> tuple[int, float]:
    """Distinct training tokens and epochs after `tokens_seen` tokens, in windows of `context`."""
    available = windows(store.train, context) * context
    return min(tokens_seen, available), tokens_seen / available


def _heldout_windows(store: Store, context: int, sequences: int) -> int:
    count = windows(store.validation, context)
    if count < sequences:
        raise _too_short(store, "validation", sequences, context)
    return count


def _too_short(store: Store, split: str, needed: int, context: int) -> DataError:
    held = len(getattr(store, split))
    mend = "shorten the model's context or give more text"
    if split == "validation":
        mend = "lower DataConfig.heldout_sequences, raise DataConfig.validation_fraction, or give more text"
    return DataError(
        f"{store.path}: the {split} split has {held:,} tokens, {windows(getattr(store, split), context)} sequences of "
        f"{context}, but {needed} are needed; {mend}"
    )


def _cut(store: Store, stream: np.ndarray, chosen: np.ndarray, others: np.ndarray | None, context: int) -> Batch:
    window = _read(stream, chosen, context)
    # An end-of-document token still belongs to the document it ends.
    ends = window[:, :-1] == store.manifest.eod
    documents = np.cumsum(ends, axis=1, dtype=np.int32) - ends
    return Batch(
        window, documents.astype(np.int32, copy=False), None if others is None else _read(stream, others, context)
    )


def _read(stream: np.ndarray, chosen: np.ndarray, context: int) -> np.ndarray:
    return stream[chosen[:, None] * context + np.arange(context + 1)].astype(np.int32)
