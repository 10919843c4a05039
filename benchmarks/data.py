"""Speed of the data: batches and tokenizing, as JSON.

    python -m benchmarks.data [--root .] [--threads 2]
    python -m benchmarks.data --access      only random access to 10^9 tokens

Prepares the default corpus below `root` if need be. Every rate is the best of
several tries; ratios come from tries that alternate within one run. Cleaning
is in `benchmarks.cleaning`.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import sentencepiece

from scaling.config import DataConfig
from scaling.data.batches import batch
from scaling.data.corpus import in_order, read_corpus
from scaling.data.order import whole, windows
from scaling.data.prepare import prepare
from scaling.data.store import Counts, Manifest, Store
from scaling.data.tokenizer import load_tokenizer

CONTEXT, BATCH, STEPS = 128, 16, 2000
TEXT_BYTES = 8_000_000
TOKENS, ACCESSES = 10**9, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--access", action="store_true")
    options = parser.parse_args()
    if options.access:
        return print(json.dumps({"access": access(), "machine": _machine()}, indent=1))
    store = prepare(DataConfig(), options.root, lambda line: None)
    result = {
        "batching": batching(store, options.tries),
        "access": access(),
        "tokenizing": tokenizing(store, options.threads, options.tries),
        "machine": _machine(),
    }
    print(json.dumps(result, indent=1))


def batching(store: Store, tries: int) -> dict:
    """Tokens a second of consecutive steps, the files in memory."""

    def steps() -> None:
        for step in range(STEPS):
            batch(store, seed=0, step=step, batch=BATCH, context=CONTEXT)

    steps()
    seconds = min(_seconds(steps) for _ in range(tries))
    return {
        "context": CONTEXT,
        "batch": BATCH,
        "windows": windows(len(store.train), CONTEXT),
        "tokens_per_second": round(STEPS * BATCH * CONTEXT / seconds),
        "microseconds_per_batch": round(1e6 * seconds / STEPS, 1),
    }


def access() -> dict:
    """Microseconds of a batch of a random step out of 10^9 tokens, mapped from a file of holes.

    What the disk would need is not in it: a page that was not read before costs one access to the disk.
    """
    rng, found = np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as folder:
        store = _sparse(Path(folder, "train.bin"))
        for size, context in ((16, 128), (64, 1024)):
            read = partial(batch, store, seed=0, batch=size, context=context, order=whole(store, context))
            steps = rng.integers(TOKENS // (size * context), size=ACCESSES).tolist()
            seconds = [_seconds(partial(read, step=step)) for step in steps]
            found[f"{size} x {context}"] = {
                "median": round(1e6 * float(np.median(seconds)), 1),
                "of_100_the_slowest": round(1e6 * float(np.quantile(seconds, 0.99)), 1),
            }
    return {"tokens": TOKENS, "microseconds_per_batch": found}


def _sparse(path: Path) -> Store:
    """A store whose training tokens are the zeros of a file that takes no room."""
    with path.open("wb") as file:
        file.truncate(2 * TOKENS)
    none = np.zeros(0, np.int64)
    counts = Counts(documents=1, tokens=TOKENS, bytes=TOKENS)
    manifest = Manifest(
        content="",
        source="",
        tokenizer="bytes",
        tokenizer_sha256="",
        vocab=257,
        eod=256,
        dtype="<u2",
        train=counts,
        validation=counts,
    )
    return Store(
        path=path.parent,
        manifest=manifest,
        train=np.memmap(path, "<u2", mode="r").view(np.ndarray),
        validation=none,
        train_ends=none,
        validation_ends=none,
        piece_bytes=none,
    )


def tokenizing(store: Store, threads: int, tries: int) -> dict:
    """Tokens a second of `Tokenizer.encode`, and of sentencepiece alone on the same texts and threads."""
    tokenizer = load_tokenizer(store.tokenizer_folder)
    plain = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    texts, size = [], 0
    for example in in_order(read_corpus(store.path.parent.parent / "corpus")["train"]):
        texts.append(example["text"].decode())
        size += len(example["text"])
        if size >= TEXT_BYTES:
            break
    tokens = sum(map(len, tokenizer.encode(texts, threads)))
    ways = {
        "ours": lambda: tokenizer.encode(texts, threads),
        "sentencepiece_arrays": lambda: plain.encode(texts, num_threads=threads, return_type="numpy"),
        "sentencepiece_lists": lambda: plain.encode(texts, num_threads=threads),
    }
    seconds = {name: [] for name in ways}
    for _ in range(tries):
        for name, way in ways.items():
            seconds[name].append(_seconds(way))
    best = {name: min(taken) for name, taken in seconds.items()}
    return {
        "text_bytes": size,
        "threads": threads,
        "tokens_per_second": {name: round(tokens / taken) for name, taken in best.items()},
        "ours_over_sentencepiece_arrays": round(best["sentencepiece_arrays"] / best["ours"], 3),
        "ours_over_sentencepiece_lists": round(best["sentencepiece_lists"] / best["ours"], 3),
    }


def _machine() -> dict:
    return {
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "sentencepiece": version("sentencepiece"),
    }


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
