"""Documents by how much they look like a positive set: words hashed to features, and a logistic regression.

Every document has a key, a hash of the seed and its text. It says which
documents are learned from (those of the lowest keys), which of the two models
judges it (that which has learned no document of its half), and, with Pareto's
rule, its luck. So nothing depends on how the corpus is cut into shards, and a
text that is in the positive set and in the corpus is in one half in both.

Letters: D documents, E entries, one for each different feature of a document.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaling.config import Source
from scaling.config.cleaning_quality import QualityClassifier
from scaling.data.cleaning.contract import Global, Placed
from scaling.data.cleaning.duplicates import drop
from scaling.data.cleaning.tables import DROPPED, SPILT, database, needed, quoted, sketch_table, write
from scaling.data.cleaning.words import groups, mixed, words_of
from scaling.data.sources import DataError, documents

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

REASON = "poor by the classifier"
ROWS = 1024  # documents judged at once
HALVES = (0, 1)
_SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("key", pa.uint64()),
        ("features", pa.list_(pa.uint32())),
        ("counts", pa.list_(pa.uint32())),
    ]
)
_SCORES = pa.schema([("index", pa.int64()), ("score", pa.float64())])
_KINDS = {".jsonl": "jsonl", ".parquet": "parquet"}


def quality_classifier(config: QualityClassifier) -> Global:
    return Global(
        sketch=partial(_sketch, config=config),
        decide=partial(_decide, config=config),
        apply=partial(drop, reason=REASON),
    )


def texts_of(paths: Sequence[str], field: str) -> Iterator[str]:
    """The texts of files and folders, in their order. Raises DataError where there is none."""
    found = False
    for path in paths:
        kind = "folder" if Path(path).expanduser().is_dir() else _KINDS.get(Path(path).suffix, "text")
        named = {"field": field} if kind in _KINDS.values() else {}
        for document in documents(Source(kind=kind, path=path, **named)):
            if document.text is not None:
                found = True
                yield document.text
    if not found:
        raise DataError(f"{', '.join(paths)}: no text to learn from; mend the paths")


def keys_of(texts: Sequence[str], seed: int) -> np.ndarray:
    """(D,) uint64: the same for the same text and seed, wherever it stands."""
    start = hashlib.blake2b(str(seed).encode() + b"\0", digest_size=8)
    keys = []
    for text in texts:
        own = start.copy()
        own.update(text.encode(errors="replace"))
        keys.append(own.digest())
    return np.frombuffer(b"".join(keys), "<u8").astype(np.uint64)


def half_of(keys: np.ndarray) -> np.ndarray:
    """Which model judges each document: the last bit, which says nothing of the order of keys."""
    return (keys & np.uint64(1)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Features:
    """How often each document has each feature."""

    keys_D: np.ndarray  # uint64
    offsets: np.ndarray  # (D + 1,) int64, of a document's entries
    features_E: np.ndarray  # uint32, ascending within a document
    counts_E: np.ndarray  # uint32

    def matrix(self, bits: int) -> "csr_matrix":
        """(D, 2^bits): 1 + ln of the counts, every document of length 1, so that its own length says nothing."""
        from scipy.sparse import csr_matrix

        sizes = np.diff(self.offsets)
        rows_E = np.repeat(np.arange(len(sizes)), sizes)
        values_E = 1 + np.log(self.counts_E)
        norms_D = np.sqrt(np.bincount(rows_E, weights=values_E**2, minlength=len(sizes)))
        shape = (len(sizes), 1 << bits)
        return csr_matrix((values_E / norms_D[rows_E], self.features_E.astype(np.int32), self.offsets), shape=shape)

    def of(self, rows: np.ndarray) -> "Features":
        """Some of the documents, in the order of `rows`."""
        sizes = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        entries = np.repeat(self.offsets[rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Features(self.keys_D[rows], offsets, self.features_E[entries], self.counts_E[entries])


def features_of(texts: Sequence[str], config: QualityClassifier) -> Features:
    """A word's feature is the first bits of its hash."""
    words, bits = words_of(texts), np.uint64(config.bits)
    rows = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(words.offsets))
    entries, counts = np.unique(rows << bits | words.hashes >> (np.uint64(64) - bits), return_counts=True)
    limits = np.arange(len(texts) + 1, dtype=np.uint64) << bits
    features = entries & ((np.uint64(1) << bits) - np.uint64(1))
    keys = keys_of(texts, config.seed)
    return Features(keys, np.searchsorted(entries, limits), features.astype(np.uint32), counts.astype(np.uint32))


def joined(parts: Sequence[Features]) -> Features:
    """The documents of all parts, one part after another; at least one."""
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return Features(
        np.concatenate([part.keys_D for part in parts]),
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([part.features_E for part in parts]),
        np.concatenate([part.counts_E for part in parts]),
    )


def _sketch(shard: Sequence[Placed], *, config: QualityClassifier) -> pa.Table:
    parts = []
    for first, texts in groups(placed.document.text for placed in shard):
        found = features_of(texts, config)
        indices = [placed.index for placed in shard[first : first + len(texts)]]
        offsets = pa.array(found.offsets, pa.int32())
        lists = [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in (found.features_E, found.counts_E)]
        parts.append([indices, found.keys_D, *lists])
    return sketch_table(_SCHEMA, parts)


def _decide(sketches: Sequence[Path], folder: Path, *, config: QualityClassifier) -> None:
    with database(sketches, folder) as connection:
        drawn = connection.execute(f"SELECT index FROM sketch ORDER BY key, index LIMIT {config.sample}").fetchnumpy()
        models = _models(_positives(config), _negatives(sketches, drawn["index"]), config)
        scores = folder / SPILT / "scores.parquet"
        with pq.ParquetWriter(scores, _SCORES) as writer:
            for indices, found in _batches(sketches):
                writer.write_batch(pa.record_batch([indices, pa.array(_values(models, found, config))], _SCORES))
        if config.keep is not None:
            write(connection, below_the_best(scores, config.keep), folder / DROPPED)
        else:
            least = config.least_score if config.pareto is None else 1.0
            poor = f"SELECT index FROM read_parquet({quoted(scores)}) WHERE score < {least!r} ORDER BY index"
            write(connection, poor, folder / DROPPED)


def below_the_best(scores: Path, keep: float) -> str:
    """SQL for the documents that are not of the best share, rounded up; of equals the first stay."""
    count = pq.read_metadata(scores).num_rows
    ranked = f"SELECT index FROM read_parquet({quoted(scores)}) ORDER BY score DESC, index OFFSET {ceil(keep * count)}"
    return f"SELECT index FROM ({ranked}) ORDER BY index"


def _positives(config: QualityClassifier) -> Features:
    """Those of the lowest keys, all read but never more kept than are wanted and one group."""
    kept = features_of([], config)
    for _, texts in groups(texts_of(config.positive, config.field)):
        both = joined([kept, features_of(texts, config)])
        kept = both.of(np.argsort(both.keys_D, kind="stable")[: config.sample])
    return kept


def _negatives(sketches: Sequence[Path], drawn: np.ndarray) -> Features:
    """The documents of those indices."""
    parts = [found.of(np.flatnonzero(np.isin(indices.to_numpy(), drawn))) for indices, found in _batches(sketches)]
    return joined(parts)


def _batches(sketches: Sequence[Path]) -> Iterator[tuple[pa.Array, Features]]:
    """Indices and features of all documents, some at a time."""
    for path in sketches:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS):
                features, counts = batch.column("features"), batch.column("counts")
                offsets = features.offsets.to_numpy().astype(np.int64)
                yield (
                    batch.column("index"),
                    Features(
                        batch.column("key").to_numpy(),
                        offsets - offsets[0],
                        features.flatten().to_numpy(),
                        counts.flatten().to_numpy(),
                    ),
                )


def _models(positives: Features, negatives: Features, config: QualityClassifier) -> list["LogisticRegression"]:
    """One for each half, learned from the other. Raises DataError where a half is without one of the classes.

    liblinear works on one thread and draws nothing for this problem: weights
    do not depend on the machine's cores.
    """
    learn = needed("sklearn.linear_model").LogisticRegression
    models, both = [], joined([positives, negatives])
    good = np.arange(len(both.keys_D)) < len(positives.keys_D)
    for half in HALVES:
        taken = np.flatnonzero(half_of(both.keys_D) != half)
        if len(np.unique(good[taken])) < 2:
            raise DataError(
                f"QualityClassifier.positive={config.positive}: {len(positives.keys_D)} good texts and "
                f"{len(negatives.keys_D)} of the corpus are too few to learn from one half of each; give more"
            )
        model = learn(C=1 / config.penalty, class_weight="balanced", solver="liblinear")
        models.append(model.fit(both.of(taken).matrix(config.bits), good[taken]))
    return models


def _values(models: Sequence["LogisticRegression"], found: Features, config: QualityClassifier) -> np.ndarray:
    """(D,) float64: scores; with Pareto's rule, what is added by luck included: such a document stays from 1 on.

    A score is the chance of the positive class where both are as frequent, by the model of the document's half.
    """
    matrix, halves, scores = found.matrix(config.bits), half_of(found.keys_D), np.empty(len(found.keys_D))
    for half, model in zip(HALVES, models, strict=True):
        mine = np.flatnonzero(halves == half)
        if len(mine):
            scores[mine] = model.predict_proba(matrix[mine])[:, 1]
    if config.pareto is None:
        return scores
    uniform = (mixed(found.keys_D) >> np.uint64(11)) * 2.0**-53
    return scores + (1 - uniform) ** (-1 / config.pareto) - 1
