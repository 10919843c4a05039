"""Batches as a pure function of (seed, step, batch size), and the held-out set.

A split's stream is cut into windows of context + 1 tokens, one every
`context` tokens, or its documents are packed into them: inputs are a window
without its last token, targets without its first. A run reads the windows in the order of `order.py`; any host
computes any rows of any step by itself, and nothing need be saved.
"""

# B sequences, T positions, W = T + 1 tokens of a window

from dataclasses import dataclass

import numpy as np

from scaling.config import Completion, RunConfig
from scaling.data.order import Order, PartRead, order_of, spans_of, too_short, whole
from scaling.data.pairs import heldout_pairs, pair_order
from scaling.data.sources import DataError
from scaling.data.store import Store, ask_for

OTHERS_SEED = 1 << 32  # beyond the seeds of runs: windows paired with a run's own come in another order


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows of text that one step trains on, or that a loss is measured on."""

    window: np.ndarray  # (B, W) int32, W = context + 1
    documents: np.ndarray  # (B, T) int32: 0 for a row's first document, 1 for its next, ...
    others: np.ndarray | None = None  # (B, W) int32: another window for each, where an objective pairs texts
    bears: np.ndarray | None = None  # (B, T) bool: targets that bear loss, where not all do

    @property
    def inputs(self) -> np.ndarray:
        """(B, T)"""
        return self.window[:, :-1]

    @property
    def targets(self) -> np.ndarray:
        """(B, T): the token after each input."""
        return self.window[:, 1:]


def batch(
    store: Store,
    *,
    seed: int,
    step: int,
    batch: int,
    context: int,
    rows: np.ndarray | None = None,
    pairs: bool = False,
    completions: bool = False,
    order: Order | None = None,
) -> Batch:
    """The sequences of one step.

    step: 0, 1, ... batch: sequences a step, over all hosts. rows: which of
    them to make, default all. Step s reads places s * batch, s * batch + 1,
    ... of the run's endless order of windows. pairs: with another window each,
    from an order of their own, of the same part of the data. completions: they
    alone bear loss. order: of a run (`order_of`), else of the whole store.
    """
    order = whole(store, context) if order is None else order
    places = step * batch + (np.arange(batch) if rows is None else np.asarray(rows))
    if order.packed:
        return _unpacked(store, order, places, seed)
    others = order.starts(places, seed=seed + OTHERS_SEED) if pairs else None
    return _cut(store, "train", order.starts(places, seed=seed), others, context, completions)


def heldout(store: Store, *, context: int, sequences: int, pairs: bool = False, completions: bool = False) -> Batch:
    """Windows evenly spaced over the validation split: the same for every run.

    `sequences` of them; of a store of several parts, so many of each, part
    after part. Raises DataError if the split, or a part of it, has fewer, or
    if the loss is to be on completions and there is none in them.
    """
    chosen = []
    for span in spans_of(store, "validation", context):
        if span.windows < sequences:
            raise too_short(store, "validation", span, sequences, context)
        chosen.append(span.first + np.arange(sequences) * span.windows // sequences * context)
    others = np.concatenate([np.roll(starts, 1) for starts in chosen]) if pairs else None
    found = _cut(store, "validation", np.concatenate(chosen), others, context, completions)
    if completions and not found.bears.reshape(-1, sequences * context).any(axis=1).all():
        raise DataError(
            f"{store.path}: no completion in the {sequences} held-out sequences of {context} tokens; "
            "raise DataConfig.heldout_sequences, or lengthen the model's context"
        )
    return found


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
    if isinstance(run.objective, Completion):
        heldout_pairs(store, run)
        return _check_read(store, run, pair_order(store, run).read(run.tokens))
    for span in spans_of(store, "validation", run.text):
        if span.windows < run.data.heldout_sequences:
            raise too_short(store, "validation", span, run.data.heldout_sequences, run.text)
    if run.completions:
        heldout(store, context=run.text, sequences=run.data.heldout_sequences, completions=True)
    _check_read(store, run, order_of(store, run).read(run.tokens))


def _check_read(store: Store, run: RunConfig, read: tuple[PartRead, ...]) -> None:
    for part, found in zip(run.data.parts, read, strict=True):
        most = run.data.max_epochs if part.most_epochs is None else part.most_epochs
        if found.epochs > most:
            raise _runs_dry(store, run, found, most)


def most_shares(store: Store, run: RunConfig) -> tuple[float, ...]:
    """The share of each part of a mixture beyond which a run would read it more often than it may; at most 1."""
    read = order_of(store, run).read(run.tokens)
    limits = [run.data.max_epochs if part.most_epochs is None else part.most_epochs for part in run.data.parts]
    return tuple(min(1.0, most * found.available / run.tokens) for most, found in zip(limits, read, strict=True))


def _runs_dry(store: Store, run: RunConfig, found: PartRead, most: float) -> DataError:
    needed = np.ceil(found.epochs * 100) / 100
    begin = f"RunConfig.tokens={run.tokens:,}, but {store.path} has {found.available:,} training tokens"
    if run.data.mixture is None:
        return DataError(
            f"{begin}: that is {found.epochs:.2f} epochs, and DataConfig.max_epochs={most:g}; "
            f"give more text, train on fewer tokens, or allow it with max_epochs={needed:g}"
        )
    return DataError(
        f"{begin} that part {found.name!r} may read, and the mixture takes {found.seen:,} of it: that is "
        f"{found.epochs:.2f} epochs of at most {most:g}; give it more text or a smaller weight, train on fewer tokens, "
        f"or allow it with Part.most_epochs={needed:g}"
    )


def _unpacked(store: Store, order: Order, places: np.ndarray, seed: int) -> Batch:
    part, chosen = order.chosen(places, seed=seed)
    window, piece, target = (np.empty((len(places), order.context + 1), kind) for kind in (np.int32, np.int32, bool))
    for k in set(part.tolist()):
        mine = part == k
        window[mine], piece[mine], target[mine] = order.packed[k].read(store.train, chosen[mine], store.manifest.eod)
    # What fills a window is a document of its own, beyond those that a window can hold.
    return Batch(window, np.where(piece < 0, order.context, piece)[:, :-1], bears=target[:, 1:])


def _cut(
    store: Store, split: str, starts: np.ndarray, others: np.ndarray | None, context: int, completions: bool
) -> Batch:
    stream = getattr(store, split)
    window = _read(stream, starts, context)
    # An end-of-document token still belongs to the document it ends.
    ends, documents = window[:, :-1] == store.manifest.eod, np.zeros(window.shape, np.int32)
    np.cumsum(ends, axis=1, out=documents[:, 1:])
    return Batch(
        window,
        documents[:, :-1],
        None if others is None else _read(stream, others, context),
        _of_completions(store, split, starts, documents)[:, 1:] if completions else None,
    )


def _of_completions(store: Store, split: str, starts: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Which tokens of windows belong to a completion, (B, W); documents: of each token, counted in its window."""
    begins, ends = getattr(store, f"{split}_completions"), getattr(store, f"{split}_ends")
    first = np.searchsorted(ends, starts, side="right")  # the document that each window begins in
    return starts[:, None] + np.arange(documents.shape[1]) >= begins[first[:, None] + documents]


def _read(stream: np.ndarray, starts: np.ndarray, context: int) -> np.ndarray:
    ask_for(stream, starts, context + 1)
    # Every window of the stream, one token after another, without a copy: rows of it are read in long runs.
    shape, step = (max(0, len(stream) - context), context + 1), stream.itemsize
    return np.ndarray(shape, stream.dtype, stream, strides=(step, step))[starts].astype(np.int32)
