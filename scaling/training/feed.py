"""What training and evaluation read: a run's batches as the compiled functions take them."""

from dataclasses import asdict, fields
from functools import cache, partial

import jax
import numpy as np
from jax.sharding import NamedSharding

from scaling.config import Completion, RunConfig, SkipGram
from scaling.counts import Flops, train_flops
from scaling.data.batches import Batch, batch, heldout
from scaling.data.order import Order, order_of
from scaling.data.pairs import PairOrder, heldout_pairs, pair_order, pairs
from scaling.data.store import Store
from scaling.data.tokenizer import load_tokenizer
from scaling.objectives.build import needs_marks, needs_pairs
from scaling.objectives.marks import marks
from scaling.parallel.dims import ACTIVATIONS
from scaling.parallel.hosts import several
from scaling.parallel.rows import Rows
from scaling.parallel.tables import spec
from scaling.record import PartTokens
from scaling.record import Tokens as TokensRead
from scaling.training.losses import Knowledge, Tokens
from scaling.training.site import HERE, Site

HELDOUT_SEED = 0xC0FFEE  # of the corruption of the held-out set: the same for every run
NOISE_POWER = 0.75  # of the unigram distribution (Mikolov et al. 2013, arXiv:1310.4546, section 2.2)
NOISE_TOKENS = 10_000_000  # that the unigram distribution is counted on


class Feed:
    """The batches of one run, any of them at any time.

    Of several processes each makes its own rows of the same batch, and gets
    arrays over the devices of all; a single one gives numpy arrays.
    """

    def __init__(self, run: RunConfig, store: Store, site: Site = HERE):
        self._run, self._store = run, store
        self._order = pair_order(store, run) if isinstance(run.objective, Completion) else order_of(store, run)
        self._rows = partial(_rows, site) if several() else None
        self._pairs = needs_pairs(run.objective)
        self._heldout: Batch | None = None
        self.knowledge = Knowledge(
            marks=marks(load_tokenizer(store.tokenizer_folder).pieces, run.data.specials)
            if needs_marks(run.objective)
            else None,
            noise_V=_noise(store, self._order, run) if isinstance(run.objective, SkipGram) else None,
        )

    def step(self, step: int) -> Tokens:
        """The batch of a step, counted from 0."""
        if isinstance(self._order, PairOrder):
            return self._pairs_of(self._order, step)
        rows = self._mine(self._run.batch)
        places = step * self._run.batch + rows
        return self._tokens(self.windows(places), keys(self._run.seed, places), self._run.batch)

    def of_each_shape(self) -> list[int]:
        """Steps whose batches have all shapes that the run's have."""
        return self._order.first_steps() if isinstance(self._order, PairOrder) else [0]

    def flops(self, tokens: int) -> Flops:
        """Of training on the run's first `tokens` tokens; shorter batches have fewer attention scores."""
        run, order = self._run, self._order
        if not isinstance(order, PairOrder):
            return train_flops(run.model, tokens, run.objective)
        total = dict.fromkeys((f.name for f in fields(Flops)), 0.0)
        for shape, count in enumerate(order.counts(tokens // run.batch_tokens).tolist()):
            for name, value in asdict(train_flops(run.model, count * run.batch_tokens, shortened(run, shape))).items():
                total[name] += value
        return Flops(**total)

    def windows(self, places: np.ndarray) -> Batch:
        """What stands at any places of the run's order of sequences, from 0."""
        run = self._run
        return batch(
            self._store,
            seed=run.seed,
            step=0,
            batch=run.batch,
            context=run.text,
            rows=places,
            pairs=self._pairs,
            completions=run.completions,
            order=self._order,
        )

    def read(self, seen: int, loss_bearing: int) -> TokensRead:
        """What the run's first `seen` tokens were, for its record."""
        parts = self._order.read(seen)
        named = {part.name: PartTokens(seen=part.seen, unique=part.unique, epochs=part.epochs) for part in parts}
        return TokensRead(
            seen=seen,
            loss_bearing=loss_bearing,
            unique=sum(part.unique for part in parts),
            epochs=seen / sum(part.available for part in parts),
            padding=self._order.padding,
            parts=named if self._run.data.mixture else {},
        )

    @property
    def heldout(self) -> Batch:
        """The fixed held-out set: windows of text, the same for every run of this length."""
        if self._heldout is None and isinstance(self._order, PairOrder):
            self._heldout = _alone(heldout_pairs(self._store, self._run))
        if self._heldout is None:
            self._heldout = heldout(
                self._store,
                context=self._run.text,
                sequences=self._run.data.heldout_sequences,
                pairs=self._pairs,
                completions=self._run.completions,
            )
        return self._heldout

    def heldout_rows(self, rows: np.ndarray) -> Tokens:
        """Rows of the held-out set, as many as a batch has, corrupted in the same way for every run."""
        whole, batch = self.heldout, len(rows)
        rows = rows[self._mine(len(rows))]
        others, bears = (None if array is None else array[rows] for array in (whole.others, whole.bears))
        read = Batch(whole.window[rows], whole.documents[rows], others, bears)
        return self._tokens(read, keys(HELDOUT_SEED, rows), batch)

    def _mine(self, batch: int) -> np.ndarray:
        """The rows of a batch that this process makes."""
        return np.arange(batch) if self._rows is None else self._rows(batch).mine

    def _pairs_of(self, order: PairOrder, step: int) -> Tokens:
        shape = order.shape(step)
        batch, (source, target) = order.rows(shape), (part >> shape for part in _sides(self._run))
        rows = self._mine(batch)
        read = pairs(self._store, "train", order.chosen(step, rows), source, target)
        return self._tokens(_alone(read), keys(self._run.seed, step * batch + rows), batch)

    def _tokens(self, read: Batch, keys_B2: np.ndarray, batch: int) -> Tokens:
        documents = read.documents if self._run.data.document_attention else None
        tokens = Tokens(read.window, keys_B2, documents, read.others, read.bears)
        return tokens if self._rows is None else jax.tree.map(self._rows(batch).joined, tokens)


@cache
def _rows(site: Site, batch: int) -> Rows:
    return Rows(batch, NamedSharding(site.mesh, spec(("batch",), ACTIVATIONS, site.layout)))


def _sides(run: RunConfig) -> tuple[int, int]:
    """Positions of prompt and completion in the longest shape."""
    return run.lengths.source, run.lengths.positions


def shortened(run: RunConfig, shape: int) -> Completion:
    """The objective of a run whose only shape is this one of its shapes, 0 the longest."""
    source, target = (part >> shape for part in _sides(run))
    return Completion(text=source + target, prompt=source)


def _alone(window: np.ndarray) -> Batch:
    """Every window a document of its own."""
    return Batch(window, np.broadcast_to(np.int32(0), (len(window), window.shape[1] - 1)))


def keys(seed: int, places: np.ndarray) -> np.ndarray:
    """A key for each place of a run's order of sequences, (B, 2) uint32: no two places of a run share one."""
    places = np.asarray(places, np.uint64)
    high = (np.uint64(seed) * np.uint64(0x9E3779B1) + (places >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return np.stack([high, places & np.uint64(0xFFFFFFFF)], axis=-1).astype(np.uint32)


def _noise(store: Store, order: Order, run: RunConfig) -> np.ndarray:
    """How likely each token is drawn as a negative, (V,) float32; of a mixture, each part as far as it is read."""
    counts = np.zeros(run.model.vocab)
    for span, read in zip(order.spans, order.counts(run.tokens // run.text), strict=True):
        text = store.train[span.first : span.first + min(span.tokens, NOISE_TOKENS // len(order.spans))]
        counts += np.bincount(text, minlength=run.model.vocab) * (int(read) / len(text) if run.data.mixture else 1)
    counts **= NOISE_POWER
    return (counts / counts.sum()).astype(np.float32)
