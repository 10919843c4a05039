"""Documents that resemble an earlier one: MinHash of word shingles, candidates by bands, then a comparison.

The hashes are rensa's R-MinHash, which follows Fast Similarity Sketching
(Dahlgaard et al. 2017, arXiv:1704.04370): a hash of two documents agrees with
probability equal to their Jaccard similarity. It is seeded, and the same for
every process, thread count and processor; `algorithm` changes when rensa
changes it, and sketches of two algorithms are not compared.

The rule. Take the documents of one band value in their order. Each is
compared with those before it that were not found similar to another; if it is
similar to one of these it is dropped, else later ones are compared with it
too. So a document may be dropped for resembling one that is itself dropped
for a third: similarity is followed along chains, toward earlier documents.
What is dropped does not depend on anything but the documents and their order.

Letters: D documents, K hashes, B bands, R rows of a band, N rows of a batch.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaling.config.cleaning_duplicates import NearDuplicates
from scaling.data.cleaning.columns import as_numpy, numbers
from scaling.data.cleaning.contract import Global, Placed
from scaling.data.cleaning.duplicates import drop
from scaling.data.cleaning.tables import DROPPED, SPILT, database, needed, parted_by_key, quoted, sketch_table, write
from scaling.data.cleaning.words import Words, constants, groups, mixed, words_of
from scaling.data.sources import DataError

BATCH = 2048  # candidates compared at once
ROWS_AT_ONCE = 1 << 14  # candidates sorted at once, each with its hashes


def near_duplicates(config: NearDuplicates) -> Global:
    return Global(
        sketch=partial(_sketch, config=config),
        decide=partial(_decide, config=config),
        apply=partial(drop, reason="nearly the same text"),
        drops=True,
    )


def algorithm() -> str:
    """What must be the same for hashes to be comparable."""
    return f"rensa R-MinHash {needed('rensa').RMinHash.ALGORITHM_VERSION}"


def minhashes(words: Words, config: NearDuplicates) -> np.ndarray:
    """Hashes of each document's set of shingles, (D, K) uint32; all ones where a document has no word.

    A document of fewer words than a shingle's has one shingle, of all its words.
    """
    _, _, shingles = words.runs(config.words)
    lengths = np.diff(words.offsets)
    counts = np.maximum(lengths - config.words + 1, 0)
    short = np.flatnonzero((lengths > 0) & (lengths < config.words))
    if len(short):
        whole = words.joined(words.offsets[short], words.offsets[short + 1])
        shingles = np.insert(shingles, np.cumsum(counts)[short], whole)
        counts[short] = 1
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    digests = needed("rensa").RMinHash.digest_matrix_from_flat_token_hashes(
        shingles, offsets, config.bands * config.rows, config.seed
    )
    return np.array(digests.to_rows(), np.uint32)


def band_keys(hashes_DK: np.ndarray, config: NearDuplicates) -> np.ndarray:
    """A 64-bit value of each band's rows and number, (D, B)."""
    hashes_DBR = hashes_DK.reshape(-1, config.bands, config.rows).astype(np.uint64)
    weights_BR = constants(config.bands * config.rows, seed=2).reshape(config.bands, config.rows)
    return mixed((hashes_DBR * weights_BR).sum(axis=2) + np.arange(config.bands, dtype=np.uint64))


def _schema(config: NearDuplicates) -> pa.Schema:
    return pa.schema(
        [
            ("index", pa.int64()),
            ("bands", pa.list_(pa.uint64())),
            ("hashes", pa.binary(4 * config.bands * config.rows)),
        ],
        {"algorithm": algorithm()},
    )


def _sketch(shard: Sequence[Placed], *, config: NearDuplicates) -> pa.Table:
    parts = []
    for first, texts in groups(placed.document.text for placed in shard):
        words = words_of(texts)
        named = np.flatnonzero(np.diff(words.offsets))  # a document without words resembles none
        hashes_DK = minhashes(words, config)[named]
        bands = band_keys(hashes_DK, config).reshape(-1)
        limits = np.arange(len(named) + 1, dtype=np.int32) * config.bands
        size = hashes_DK.shape[1] * hashes_DK.itemsize
        parts.append(
            [
                [shard[first + row].index for row in named],
                pa.ListArray.from_arrays(numbers(limits, pa.int32()), numbers(bands, pa.uint64())),
                pa.Array.from_buffers(
                    pa.binary(size), len(named), [None, pa.py_buffer(np.ascontiguousarray(hashes_DK))]
                ),
            ]
        )
    return sketch_table(_schema(config), parts)


def _decide(sketches: Sequence[Path], folder: Path, before: Sequence[Path] = (), *, config: NearDuplicates) -> None:
    _check_algorithm(sketches)
    space = folder / SPILT
    with database(sketches, folder, before) as connection:
        connection.execute("CREATE TABLE candidate (key UBIGINT, index BIGINT)")
        for part in parted_by_key(connection, "SELECT unnest(bands) AS key, index FROM sketch", space / "bands"):
            connection.execute(
                f"""
                INSERT INTO candidate SELECT key, index FROM {part}
                WHERE key IN (SELECT key FROM {part} GROUP BY key HAVING count(*) > 1)
                """
            )
        hashes = "SELECT index, hashes FROM sketch WHERE index IN (SELECT index FROM candidate)"
        write(connection, hashes, space / "hashes.parquet", group_rows=2048)
        connection.execute("CREATE TABLE found (index BIGINT, first BIGINT)")
        results = connection.cursor()  # so that rows are written while others are still read
        for part in parted_by_key(connection, "FROM candidate", space / "candidates", ROWS_AT_ONCE):
            rows = connection.sql(
                f"""
                SELECT key, index, hashes FROM {part}
                JOIN read_parquet({quoted(space / "hashes.parquet")}) USING (index)
                ORDER BY key, index
                """
            )
            for pairs in _similar(rows.to_arrow_reader(BATCH), config):
                results.register("pairs", pairs)
                results.execute("INSERT INTO found SELECT * FROM pairs")
        results.close()
        write(
            connection, "SELECT index, min(first) AS first FROM found GROUP BY index ORDER BY index", folder / DROPPED
        )


def _check_algorithm(sketches: Sequence[Path]) -> None:
    for path in sketches:
        made = (pq.read_schema(path).metadata or {}).get(b"algorithm", b"").decode()
        if made != algorithm():
            raise DataError(
                f"{path}: made with {made or 'an unknown algorithm'}, but {algorithm()} is installed; "
                "delete the sketches of this step, or install the version of rensa that made them"
            )


def _similar(batches: Iterator[pa.RecordBatch], config: NearDuplicates) -> Iterator[pa.Table]:
    """Documents to drop and the earlier one each resembles, of candidates sorted by key and index.

    The documents of the last key against which others are compared go with it to the next batch.
    """
    keys, indices = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes = np.zeros((0, config.bands * config.rows), np.uint32)
    for batch in batches:
        new_keys, new_indices, new_hashes = (batch.column(name) for name in ("key", "index", "hashes"))
        keys = np.concatenate([keys, as_numpy(new_keys)])
        indices = np.concatenate([indices, as_numpy(new_indices)])
        hashes = np.concatenate([hashes, _matrix(new_hashes, hashes.shape[1])])
        leaders = _leaders(keys, hashes, config.threshold)
        drop = leaders != np.arange(len(keys))
        yield pa.table(
            {"index": numbers(indices[drop], pa.int64()), "first": numbers(indices[leaders[drop]], pa.int64())}
        )
        stay = ~drop & (keys == keys[-1])
        keys, indices, hashes = keys[stay], indices[stay], hashes[stay]


def _leaders(keys: np.ndarray, hashes_NK: np.ndarray, threshold: float) -> np.ndarray:
    """For each row the first row of its key, among those that have no other, to which it is similar: (N,).

    In every round the first rows that are left lead; rows similar to them follow and all others go on.
    """
    leaders, left = np.arange(len(keys)), np.arange(len(keys))
    while len(left):
        starts = np.diff(keys[left], prepend=keys[left[0]] + np.uint64(1)) != 0
        first = left[starts][np.cumsum(starts) - 1]
        similar = (hashes_NK[left] == hashes_NK[first]).mean(axis=1) >= threshold
        leaders[left[similar]] = first[similar]
        left = left[~similar & (left != first)]
    return leaders


def _matrix(column: pa.Array, width: int) -> np.ndarray:
    """A column of binary values of one length as (N, K) uint32."""
    return np.frombuffer(b"".join(column.to_pylist()), np.uint32).reshape(-1, width)
