"""Documents by how well n-grams of bytes foretell them (Wenzek et al. 2020, arXiv:1911.00359).

Every byte is foretold by the order - 1 bytes before it; a document begins
after as many marks that are no byte, so that its perplexity is its own,
whatever stands beside it. Long documents are cut into pieces for the work; a
piece begins with the bytes before it, which are not counted again.

With a reference the sketches hold perplexities. Without one they hold the
texts, for the models to learn from and to judge.

Letters: N tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaling.config import NgramConfig
from scaling.config.cleaning_quality import Perplexity
from scaling.data.cleaning.contract import Global, Placed
from scaling.data.cleaning.duplicates import drop
from scaling.data.cleaning.quality import HALVES, half_of, keys_of, texts_of
from scaling.data.cleaning.tables import DROPPED, SPILT, database, quoted, write
from scaling.data.sources import DataError
from scaling.models.ngram import Smoothed, count, losses, smooth

if TYPE_CHECKING:
    import duckdb

REASON = "perplexity out of bounds"
MARK = 256  # the token before a document
PIECE = 1 << 17  # bytes foretold at once
ROWS = 256  # texts read at once
_TEXTS = pa.schema([("index", pa.int64()), ("key", pa.uint64()), ("text", pa.large_binary())])
_SCORES = pa.schema([("index", pa.int64()), ("nats", pa.float64())])


def perplexity(config: Perplexity) -> Global:
    return Global(
        sketch=partial(_texts if config.own else _judged, config=config),
        decide=partial(_decide, config=config),
        apply=partial(drop, reason=REASON),
    )


def learned(texts: Iterable[bytes], config: Perplexity) -> Smoothed:
    """A model of texts, one after another, up to `most_bytes` of them. Raises DataError if there is none."""
    model, left = NgramConfig(vocab=MARK + 1, order=config.order), config.most_bytes
    tokens = []
    for text in texts:
        tokens.append(_marked(text[:left], config))
        left -= len(text)
        if left <= 0:
            break
    if not tokens:
        raise DataError("Perplexity.own=True: too few documents to learn from one half of them; name a reference")
    return smooth(count(model, [np.concatenate(tokens)[None]]))


def nats_a_byte(model: Smoothed, texts: Sequence[bytes], config: Perplexity) -> np.ndarray:
    """The logarithm of each text's perplexity, a byte; of an empty text 0."""
    nats, context = np.zeros(len(texts)), config.order - 1
    for pieces in _gathered(texts, config):
        tokens = np.concatenate([piece for _, piece in pieces])
        found = np.insert(losses(model, tokens[None])[0], 0, 0.0)
        start = 0
        for row, piece in pieces:
            nats[row] += found[start + context : start + len(piece)].sum()
            start += len(piece)
    return nats / np.maximum([len(text) for text in texts], 1)


def _marked(text: bytes, config: Perplexity) -> np.ndarray:
    """(N,) int64: the text's bytes after the marks."""
    found = np.full(config.order - 1 + len(text), MARK)
    found[config.order - 1 :] = np.frombuffer(text, np.uint8)
    return found


def _gathered(texts: Sequence[bytes], config: Perplexity) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Pieces of the texts with their contexts, and the row of their text; about so many that one is full."""
    held, size = [], 0
    for row, text in enumerate(texts):
        tokens = _marked(text, config)
        for start in range(0, len(text), PIECE):
            held.append((row, tokens[start : start + PIECE + config.order - 1]))
            size += len(held[-1][1])
            if size >= PIECE:
                yield held
                held, size = [], 0
    if held:
        yield held


@cache
def _of_reference(config: Perplexity) -> Smoothed:
    return learned((text.encode(errors="replace") for text in texts_of(config.reference, config.field)), config)


def _judged(shard: Sequence[Placed], *, config: Perplexity) -> pa.Table:
    texts = [placed.document.text.encode(errors="replace") for placed in shard]
    nats = nats_a_byte(_of_reference(config), texts, config)
    return pa.table([[placed.index for placed in shard], nats], schema=_SCORES)


def _texts(shard: Sequence[Placed], *, config: Perplexity) -> pa.Table:
    texts = [placed.document.text for placed in shard]
    columns = [[placed.index for placed in shard], keys_of(texts, config.seed)]
    return pa.table([*columns, [text.encode(errors="replace") for text in texts]], schema=_TEXTS)


def _decide(sketches: Sequence[Path], folder: Path, *, config: Perplexity) -> None:
    with database(sketches, folder) as connection:
        scores = sketches
        if config.own:
            scores = [folder / SPILT / "scores.parquet"]
            _judge_each_half_by_the_other(sketches, scores[0], connection, config)
        table = f"read_parquet([{', '.join(map(quoted, scores))}])"
        (documents,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        first, last = round(config.above * documents), round(config.below * documents)
        write(
            connection,
            f"""
            SELECT index FROM (SELECT index, row_number() OVER (ORDER BY nats, index) - 1 AS rank FROM {table})
            WHERE rank < {first} OR rank >= {last} ORDER BY index
            """,
            folder / DROPPED,
        )


def _judge_each_half_by_the_other(
    sketches: Sequence[Path], scores: Path, connection: "duckdb.DuckDBPyConnection", config: Perplexity
) -> None:
    models = []
    for half in HALVES:
        rows = connection.execute(f"SELECT text FROM sketch WHERE key % 2 <> {half} ORDER BY key, index")
        models.append(learned(_one_by_one(rows), config))
    with pq.ParquetWriter(scores, _SCORES) as writer:
        for path in sketches:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(ROWS):
                    nats = _by_halves(models, batch, config)
                    writer.write_batch(pa.record_batch([batch.column("index"), pa.array(nats)], _SCORES))


def _one_by_one(rows: "duckdb.DuckDBPyConnection") -> Iterator[bytes]:
    while (row := rows.fetchone()) is not None:
        yield row[0]


def _by_halves(models: Sequence[Smoothed], batch: pa.RecordBatch, config: Perplexity) -> np.ndarray:
    texts, halves = batch.column("text").to_pylist(), half_of(batch.column("key").to_numpy())
    nats = np.empty(len(texts))
    for half, model in zip(HALVES, models, strict=True):
        mine = np.flatnonzero(halves == half)
        nats[mine] = nats_a_byte(model, [texts[row] for row in mine], config)
    return nats
