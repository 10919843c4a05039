"""Speed and memory of what compares documents, as JSON.

    python -m benchmarks.dedup speed [--megabytes 31]    each step over the standard library, in one process
    python -m benchmarks.dedup minhash                   beside datasketch, on the same shingles
    python -m benchmarks.dedup memory --step near_duplicates [--megabytes 100]

Speed is that of the processor: seconds of all threads, so that what else the
machine does counts little. Memory is the peak of a process of its own that
sketches generated documents, or decides on the sketches.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.machine import command, machine, save
from scaling.config import Source
from scaling.config.cleaning_duplicates import (
    DuplicateLines,
    DuplicateParagraphs,
    DuplicateSubstrings,
    DuplicateURLs,
    ExactDuplicates,
    NearDuplicates,
)
from scaling.data.cleaning.build import work
from scaling.data.cleaning.contract import Placed
from scaling.data.cleaning.near import minhashes
from scaling.data.cleaning.words import words_of
from scaling.data.sources import Document, documents

STEPS = {
    step.kind: step
    for step in (
        DuplicateLines(),
        DuplicateParagraphs(),
        DuplicateSubstrings(),
        DuplicateURLs(),
        ExactDuplicates(),
        NearDuplicates(),
    )
}
SHARD_BYTES = 1 << 22
SENTENCES, WORDS = 50_000, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "minhash", "memory", "sketch", "decide"])
    parser.add_argument("--step", choices=STEPS, default="near_duplicates")
    parser.add_argument("--megabytes", type=float, default=31)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    match options.what:
        case "speed":
            found = speed(options.megabytes, options.tries)
        case "minhash":
            found = minhash(options.tries)
        case "memory":
            found = memory(options.step, options.megabytes)
        case "sketch":
            found = sketch(options.step, options.megabytes, options.folder)
        case "decide":
            found = decide(options.step, options.folder)
    if options.what in ("sketch", "decide"):
        return print(json.dumps(found))
    result = {"command": command(), options.what: found, "machine": machine() | {"deduplication": _versions()}}
    print(json.dumps(result, indent=1))
    save(result, options.out)


def speed(megabytes: float, tries: int) -> dict:
    """Of each step, milliseconds of processor for a megabyte, the best of several tries, and megabytes a second."""
    shards = list(_shards(_standard_library(megabytes)))
    size = sum(len(placed.document.text.encode()) for shard in shards for placed in shard) / 1e6
    result = {}
    for kind in STEPS:
        times = np.array([_times(kind, shards) for _ in range(tries)]).min(axis=0)
        parts = dict(zip(("sketch", "decide", "apply"), (1e3 * times / size).round(2).tolist(), strict=True))
        result[kind] = parts | {"megabytes_per_second": round(size / times.sum(), 1)}
    return {"megabytes": round(size, 1), "milliseconds_per_megabyte": result}


def minhash(tries: int) -> dict:
    """Documents a second, each 112 hashes of the same 5-word shingles, by ours and by datasketch."""
    from datasketch import MinHash

    config, texts = NearDuplicates(), list(_standard_library(3))
    words = words_of(texts)
    rows, _, keys = words.runs(config.words)
    # datasketch reads bytes and hashes them; it is given ready numbers, the cheapest that it takes.
    numbers = [(keys[rows == row] & 0xFFFFFFFF).tolist() for row in range(len(texts))]
    permutations = MinHash(num_perm=config.bands * config.rows, seed=1)

    def theirs() -> None:
        for shingles in numbers:
            sketch = permutations.copy()
            sketch.hashfunc = int
            sketch.update_batch(shingles)

    ways = {"ours": lambda: minhashes(words, config), "datasketch": theirs}
    ways["ours_with_words"] = lambda: minhashes(words_of(texts), config)
    best = {name: min(_seconds(way) for _ in range(tries)) for name, way in ways.items()}
    return {
        "documents": len(texts),
        "shingles": len(keys),
        "seconds": {name: round(taken, 4) for name, taken in best.items()},
        "ours_over_datasketch": round(best["datasketch"] / best["ours"], 1),
        "ours_with_words_over_datasketch": round(best["datasketch"] / best["ours_with_words"], 1),
    }


def memory(step: str, megabytes: float) -> dict:
    """Peak memory of two processes, one that sketches generated documents and one that decides."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.dedup"]
        given = ["--step", step, "--folder", folder, "--megabytes", str(megabytes)]
        parts = {
            part: json.loads(subprocess.run([*command, part, *given], check=True, capture_output=True).stdout)
            for part in ("sketch", "decide")
        }
    return {"step": step, "generated_megabytes": megabytes} | parts


def sketch(step: str, megabytes: float, folder: Path) -> dict:
    doing, size = work(STEPS[step]), 0
    started = time.perf_counter()
    for number, shard in enumerate(_shards(generated(megabytes))):
        path = folder / f"{number:06d}.parquet"
        pq.write_table(doing.sketch(shard), path, use_dictionary=False)
        size += path.stat().st_size
    return _peak() | {"seconds": round(time.perf_counter() - started, 1), "megabytes_written": round(size / 1e6, 1)}


def decide(step: str, folder: Path) -> dict:
    started, decision = time.perf_counter(), folder / "decision"
    decision.mkdir()
    work(STEPS[step]).decide(sorted(folder.glob("*.parquet")), decision)
    (written,) = decision.iterdir()
    rows = pq.read_metadata(written).num_rows
    return _peak() | {"seconds": round(time.perf_counter() - started, 1), "rows": rows}


def _times(kind: str, shards: Sequence[Sequence[Placed]]) -> list[float]:
    """Seconds of processor of the three parts."""
    doing, marks = work(STEPS[kind]), [time.process_time()]
    with tempfile.TemporaryDirectory() as name:
        decision, paths = Path(name) / "decision", []
        decision.mkdir()
        for number, shard in enumerate(shards):
            paths.append(Path(name) / f"{number:06d}.parquet")
            pq.write_table(doing.sketch(shard), paths[-1], use_dictionary=False)
        marks.append(time.process_time())
        doing.decide(paths, decision)
        marks.append(time.process_time())
        for shard in shards:
            doing.apply(shard, decision)
        marks.append(time.process_time())
    return np.diff(marks).tolist()


def _shards(texts: Iterator[str]) -> Iterator[list[Placed]]:
    shard, size = [], 0
    for index, text in enumerate(texts):
        shard.append(Placed(index=index, document=Document(name=str(index), text=text, url=f"https://a.org/{index}")))
        size += len(text)
        if size >= SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def _standard_library(megabytes: float) -> Iterator[str]:
    size = 0
    for document in documents(Source()):
        if document.text is not None and size < megabytes * 1e6:
            size += len(document.text)
            yield document.text


def generated(megabytes: float) -> Iterator[str]:
    """Documents of 10 to 70 sentences of a stock; of twenty, one is the one before it but for a sentence.

    Rules of quality let them pass: there are stop words, and most words have a letter.
    """
    rng = np.random.default_rng(0)
    vocabulary = [f"{word:x}" for word in rng.integers(1 << 24, size=20_000)]
    rows = rng.integers(20_000, size=(SENTENCES, WORDS))
    stock = ["the " + " ".join(vocabulary[word] for word in row[1:]) + f" of {vocabulary[row[0]]}." for row in rows]
    size, number, chosen = 0, 0, rng.integers(SENTENCES, size=20)
    while size < megabytes * 1e6:
        if number % 20:
            chosen = rng.integers(SENTENCES, size=rng.integers(10, 70))
        else:
            chosen[rng.integers(len(chosen))] = rng.integers(SENTENCES)
        text = "\n".join([stock[sentence] for sentence in chosen])
        size, number = size + len(text), number + 1
        yield text


def _peak() -> dict:
    return {"peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)}


def _seconds(doing) -> float:
    started = time.process_time()
    doing()
    return time.process_time() - started


def _versions() -> dict[str, str]:
    packages = ("duckdb", "rensa", "datasketch", "numpy", "pyarrow")
    return {name: version(name) for name in packages}


if __name__ == "__main__":
    main()
