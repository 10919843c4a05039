"""Speed of the data: batches and tokenizing, as JSON.

    python -m benchmarks.data [--root .] [--threads 2]

Prepares the default corpus below `root` if need be. Every rate is the best of
several tries; ratios come from tries that alternate within one run.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import sentencepiece

from scaling.config import DataConfig, Source
from scaling.config.cleaning import ExactDuplicates
from scaling.config.cleaning_heuristics import GopherQuality, GopherRepetition, PrivateData
from scaling.data.batches import batch
from scaling.data.cleaning import shards
from scaling.data.cleaning.account import read_account
from scaling.data.cleaning.engine import clean
from scaling.data.cleaning.parallel import in_processes
from scaling.data.corpus import in_order, read_corpus
from scaling.data.order import windows
from scaling.data.prepare import prepare
from scaling.data.sources import documents
from scaling.data.store import Store
from scaling.data.tokenizer import load_tokenizer

CONTEXT, BATCH, STEPS = 128, 16, 2000
TEXT_BYTES = 8_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tries", type=int, default=5)
    options = parser.parse_args()
    store = prepare(DataConfig(), options.root, lambda line: None)
    result = {
        "batching": batching(store, options.tries),
        "cleaning": cleaning(options.threads),
        "tokenizing": tokenizing(store, options.threads, options.tries),
        "machine": {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "numpy": version("numpy"),
            "sentencepiece": version("sentencepiece"),
        },
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


def cleaning(processes: int) -> dict:
    """Megabytes a second of a recipe on the standard library, once, the start of its processes included."""
    steps = (GopherQuality(), GopherRepetition(), PrivateData(), ExactDuplicates())
    with tempfile.TemporaryDirectory() as root, in_processes(processes) as map_shards:
        source = Path(root, "documents")
        source.mkdir()
        cutting = _seconds(lambda: shards.split(documents(Source()), source))
        seconds = _seconds(lambda: clean(source, steps, Path(root, "cleaned"), lambda line: None, map_shards))
        account = read_account(Path(root, "cleaned"))
    size = account.before.total.bytes
    return {
        "text_bytes": size,
        "processes": processes,
        "steps": [step.kind for step in steps],
        "documents": [account.before.total.documents, account.after.total.documents],
        "mb_per_second_cutting": round(size / cutting / 1e6, 1),
        "mb_per_second_cleaning": round(size / seconds / 1e6, 1),
    }


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


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
