"""What a tokenizer learns from: texts in a fixed random order, as much of each source."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scaling.data.shuffle import permuted


def shuffled_texts(corpus: Path) -> Iterator[str]:
    """Every training text of a corpus once."""
    from scaling.data.corpus import read_corpus

    train = read_corpus(corpus)["train"]
    for index in permuted(np.arange(len(train)), len(train), seed=0, epoch=0):
        yield train[int(index)]["text"].decode()


def evenly(streams: list[Iterator[str]], limit: int) -> Iterator[str]:
    """Texts of several streams, always from the one that gave the fewest bytes so far.

    So a sample of `limit` bytes has as much of each, whatever their sizes; one
    that ends leaves its place to the others. A text takes at most its stream's place.
    """
    given = dict.fromkeys(range(len(streams)), 0)
    while given:
        least = min(given, key=given.__getitem__)
        text = next(streams[least], None)
        if text is None:
            del given[least]
            continue
        text = text[: max(1, limit // len(streams))]
        given[least] += len(text.encode())
        yield text
