"""Which window of text stands at each place of a run's order, as a pure function of (data, seed, place).

A run reads one endless order of windows. Each place belongs to a part of the
data (`shares.py`; a single source is one part), and the j-th place of a part
reads the j-th window of that part's own order, which is drawn anew for every
pass over the part. So any host computes any place by itself, nothing is saved,
and the counts of every beginning are known in closed form.
"""

# K parts

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from scaling.config import DataConfig, RunConfig
from scaling.data.packing import Packed, pack
from scaling.data.shares import Pattern, pattern, shares
from scaling.data.shuffle import permuted, shuffled
from scaling.data.sources import DataError
from scaling.data.store import Store

PART_SEEDS = 1 << 33  # between the seeds of two parts' orders: beyond those of runs and of paired windows
SUBSET_SEED = -1  # no run's: which sequences a limit leaves is the same for every run


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of a stream, cut into windows."""

    name: str
    first: int  # token
    tokens: int
    windows: int  # whole ones, one every `context` tokens
    read: int  # of the windows, those that a run may read


@dataclass(frozen=True, kw_only=True)
class PartRead:
    """What was read of one part."""

    name: str
    seen: int  # tokens
    available: int  # different tokens that a run may read

    @property
    def unique(self) -> int:
        return min(self.seen, self.available)

    @property
    def epochs(self) -> float:
        return self.seen / self.available


@dataclass(frozen=True, eq=False, kw_only=True)
class Order:
    """A run's order of windows over the training stream."""

    context: int
    spans: tuple[Span, ...]
    stages: tuple[tuple[int, Pattern], ...]  # each with its first place, the first at 0
    packed: tuple[Packed, ...] = ()  # of each part, where documents are packed: what its windows hold

    def starts(self, places: np.ndarray, *, seed: int) -> np.ndarray:
        """The first token of the window at each place (int, from 0, without end), of a stream that is not packed."""
        part, window = self.chosen(places, seed=seed)
        return np.array([span.first for span in self.spans])[part] + window * self.context

    def chosen(self, places: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The part of each place, and which of that part's windows stands there."""
        part, rank = self.ranks(np.asarray(places, np.int64))
        found = np.empty_like(rank)
        for k in set(part.tolist()):
            span, mine = self.spans[k], part == k
            window = shuffled(rank[mine], span.read, seed=seed + k * PART_SEEDS)
            if span.read < span.windows:
                window = permuted(window, span.windows, seed=SUBSET_SEED, epoch=0)
            found[mine] = window
        return part, found

    def ranks(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of each place, and how many places of that part come before it."""
        if len(self.spans) == 1:
            return np.zeros_like(places), places
        stage = np.searchsorted([first for first, _ in self.stages], places, side="right") - 1
        part, rank = np.empty_like(places), np.empty_like(places)
        for s in set(stage.tolist()):
            (first, order), here = self.stages[s], stage == s
            part[here], rank[here] = order.of(places[here] - first)
            rank[here] += self.counts(first)[part[here]]
        return part, rank

    def counts(self, places: int) -> np.ndarray:
        """(K,) int64: places of each part among the first so many."""
        total, ends = np.zeros(len(self.spans), np.int64), [first for first, _ in self.stages[1:]] + [math.inf]
        for (first, order), end in zip(self.stages, ends, strict=True):
            if places > first:
                total += order.counts(min(places, end) - first)
        return total

    @property
    def padding(self) -> float:
        """Share of the positions of all windows that hold no token; parts count by their windows."""
        positions = sum(packed.windows * packed.width for packed in self.packed)
        return 1 - sum(int(packed.lengths_P.sum()) for packed in self.packed) / positions if positions else 0.0

    def read(self, tokens_seen: int) -> tuple[PartRead, ...]:
        """What the first so many tokens of the order take of each part."""
        counts = self.counts(tokens_seen // self.context)
        return tuple(
            PartRead(name=span.name, seen=int(count) * self.context, available=span.read * self.context)
            for span, count in zip(self.spans, counts, strict=True)
        )


def order_of(store: Store, run: RunConfig) -> Order:
    """The order in which a run reads a store. Raises DataError for data that cannot be read as the run asks."""
    spans, mixture = tuple(_limited(store, run)), run.data.mixture
    stages = [(0, _pattern(run.data, spans, mixture.weights if mixture else ()))]
    for stage in mixture.stages if mixture else ():
        stages.append((stage.first_step(run.steps) * run.batch, _pattern(run.data, spans, stage.weights)))
    packed = _packed(store, run.text, run.completions) if run.data.packing == "best_fit" else ()
    return Order(context=run.text, spans=spans, stages=tuple(stages), packed=packed)


def whole(store: Store, context: int) -> Order:
    """Every window of the training stream, of parts that follow one another as often as they have windows."""
    spans = tuple(spans_of(store, "train", context))
    for span in spans:
        if span.windows == 0:
            raise too_short(store, "train", span, 1, context)
    return Order(context=context, spans=spans, stages=((0, pattern(shares(tuple(span.read for span in spans)))),))


def windows(tokens: int, context: int) -> int:
    """Whole windows of context + 1 tokens in a stretch of so many, each sharing one token with the next."""
    return max(0, tokens - 1) // context


def spans_of(store: Store, split: str, context: int) -> Iterator[Span]:
    """The parts of a split, one after another in its stream."""
    parts = store.manifest.parts
    sizes = [getattr(part, split).tokens for part in parts] if parts else [len(getattr(store, split))]
    first = 0
    for name, tokens in zip([part.name for part in parts] or ["all"], sizes, strict=True):
        count = windows(tokens, context)
        yield Span(name=name, first=first, tokens=tokens, windows=count, read=count)
        first += tokens


def too_short(store: Store, split: str, span: Span, needed: int, context: int) -> DataError:
    """Says that a split, or a part of it, has fewer windows than are needed."""
    mend = "shorten the model's context or give more text"
    if split == "validation":
        mend = "lower DataConfig.heldout_sequences, raise DataConfig.validation_fraction, or give more text"
    of = f" of part {span.name!r}" if store.manifest.parts else ""
    return DataError(
        f"{store.path}: the {split} split{of} has {span.tokens:,} tokens, {span.windows} sequences of {context}, "
        f"but {needed} are needed; {mend}"
    )


def _limited(store: Store, run: RunConfig) -> Iterator[Span]:
    """The parts of the training stream, each with the windows that its limit leaves."""
    data, context = run.data, run.text
    spans = _spans_named(store, data, context)
    if data.packing == "best_fit":
        counts = [packed.windows for packed in _packed(store, context, run.completions)]
        spans = [replace(span, windows=count, read=count) for span, count in zip(spans, counts, strict=True)]
    for part, span in zip(data.parts, spans, strict=True):
        if span.windows == 0:
            raise too_short(store, "train", span, 1, context)
        if part.most_tokens is None:
            yield span
            continue
        read, where = part.most_tokens // context, f"most_tokens={part.most_tokens:,} of part {span.name!r}"
        if not 0 < read <= span.windows:
            raise DataError(
                f"{store.path}: {where}, but it has {span.windows * context:,} training tokens in sequences of "
                f"{context}; give from {context:,} to {span.windows * context:,}, or leave the limit out"
            )
        yield Span(name=span.name, first=span.first, tokens=span.tokens, windows=span.windows, read=read)


def _spans_named(store: Store, data: DataConfig, context: int) -> list[Span]:
    found = list(spans_of(store, "train", context))
    names, wanted = [span.name for span in found], [part.name for part in data.parts]
    if names != wanted:
        raise DataError(
            f"{store.path}: the store has the parts {', '.join(names)}, but the run reads {', '.join(wanted)}; open "
            "the store that `prepare` returns for this run"
        )
    return found


@lru_cache(maxsize=4)  # a study checks thousands of runs against one store; a million documents take 4 s
def _packed(store: Store, context: int, completions: bool) -> tuple[Packed, ...]:
    """The documents of each part of the training stream, packed; completions: they alone are predicted."""
    parts, found, done = store.manifest.parts, [], 0
    counts = [part.train.documents for part in parts] if parts else [len(store.train_ends)]
    for span, count in zip(spans_of(store, "train", context), counts, strict=True):
        mine = slice(done, done + count)
        begins = store.train_completions[mine] if completions else None
        found.append(pack(store.train_ends[mine], context + 1, span.first, begins))
        done += count
    return tuple(found)


def _pattern(data: DataConfig, spans: tuple[Span, ...], weights: tuple[float, ...]) -> Pattern:
    temperature = data.mixture.temperature if data.mixture else 1.0
    try:
        return pattern(shares(weights or tuple(span.read for span in spans), temperature))
    except ValueError as error:
        raise DataError(f"DataConfig.mixture of {', '.join(span.name for span in spans)}: {error}") from None
