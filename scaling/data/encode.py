"""The documents of corpora as tokens, split by split."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling.data.corpus import PROMPT, in_order, read_corpus
from scaling.data.store import Encoded
from scaling.data.tokenizer import Tokenizer

CHUNK_BYTES = 1 << 22  # of text encoded at once: enough for threads, little memory
REPORT_SECONDS = 2.0

Report = Callable[[str], None]


def examples(split: str, corpora: Sequence[Path], heldout: Path | None) -> Iterator[dict[str, Any]]:
    """The documents of a split, corpus after corpus.

    heldout: a corpus whose validation split takes the place of theirs. What
    has the text of one of its documents is left out of their training split.
    """
    if heldout is None:
        for corpus in corpora:
            yield from in_order(read_corpus(corpus)[split])
        return
    held = read_corpus(heldout)["validation"]
    if split == "validation":
        yield from in_order(held)
        return
    known = {example["sha256"] for example in in_order(held)}
    for corpus in corpora:
        yield from (example for example in in_order(read_corpus(corpus)[split]) if example["sha256"] not in known)


def encoded(
    tokenizer: Tokenizer, texts: Iterator[dict[str, Any]], split: str, total: int, report: Report
) -> Iterator[Encoded]:
    """Every document as tokens; checks that not a byte was lost. total: bytes of all, about.

    No token holds both the end of a prompt and the beginning of its completion.
    """
    piece_bytes, threads = tokenizer.piece_bytes, os.cpu_count() or 1
    started = shown = time.monotonic()
    done = 0
    for chunk in _chunks(texts):
        texts, lengths = [example["text"].decode() for example in chunk], [example.get(PROMPT, 0) for example in chunk]
        prompts = [text[:length] for text, length in zip(texts, lengths, strict=True)]
        rests = tokenizer.encode([text[length:] for text, length in zip(texts, lengths, strict=True)], threads)
        begins = tokenizer.encode(prompts, threads) if any(prompts) else [rests[0][:0]] * len(chunk)
        for example, begin, rest in zip(chunk, begins, rests, strict=True):
            document, size = np.concatenate([begin, rest]) if len(begin) else rest, len(example["text"])
            assert piece_bytes[document].sum() == size
            yield Encoded(document, size, len(begin))
            done += size
        if (now := time.monotonic()) - shown > REPORT_SECONDS:
            shown = now
            left = (now - started) * (total - done) / done
            report(f"tokenizing {split}: {done / total:.0%} of {total / 1e6:.0f} MB, {left:.0f} s left")


def _chunks(texts: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    held, size = [], 0
    for example in texts:
        held.append(example)
        size += len(example["text"])
        if size >= CHUNK_BYTES:
            yield held
            held, size = [], 0
    yield held
