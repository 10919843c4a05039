"""What training and evaluation read: a run's batches as the compiled functions take them."""

import jax
import numpy as np
from jax.sharding import NamedSharding

from scaling.config import RunConfig, SkipGram
from scaling.data.batches import Batch, batch, heldout
from scaling.data.order import Order, order_of
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
        self._run, self._store, self._order = run, store, order_of(store, run)
        self._rows = _rows(run, site) if several() else None
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
        rows = np.arange(self._run.batch) if self._rows is None else self._rows.mine
        places = step * self._run.batch + rows
        return self._tokens(self.windows(places), keys(self._run.seed, places))

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
            parts=named if self._run.data.mixture else {},
        )

    @property
    def heldout(self) -> Batch:
        """The fixed held-out set: windows of text, the same for every run of this length."""
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
        whole = self.heldout
        rows = rows if self._rows is None else rows[self._rows.mine]
        others, bears = (None if array is None else array[rows] for array in (whole.others, whole.bears))
        return self._tokens(Batch(whole.window[rows], whole.documents[rows], others, bears), keys(HELDOUT_SEED, rows))

    def _tokens(self, read: Batch, keys_B2: np.ndarray) -> Tokens:
        documents = read.documents if self._run.data.document_attention else None
        tokens = Tokens(read.window, keys_B2, documents, read.others, read.bears)
        return tokens if self._rows is None else jax.tree.map(self._rows.joined, tokens)


def _rows(run: RunConfig, site: Site) -> Rows:
    return Rows(run.batch, NamedSharding(site.mesh, spec(("batch",), ACTIVATIONS, site.layout)))


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
