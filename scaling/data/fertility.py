"""How well a tokenizer fits a text: compression, fertility, coverage.

Tokens a byte decide what a vocabulary costs a model in compute, and losses of
two vocabularies compare in bits/byte only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling.data.sources import DataError
from scaling.data.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Fertility:
    """Figures of one tokenizer on some texts."""

    vocab: int  # tokens, the 256 bytes and the end of a document included
    bytes_per_token: float  # compression
    tokens_per_word: float  # fertility; a word is what stands between white space
    spelt_bytes: float  # share of the text's bytes that are spelt out, a token a byte: what no piece covers
    used: float  # share of the vocabulary that occurs
    half: int  # the commonest tokens that make up half of all


def fertility(tokenizer: Tokenizer, texts: Sequence[str]) -> Fertility:
    """The figures of `tokenizer` on `texts`. Raises DataError where they hold no word."""
    encoded = tokenizer.encode(texts)
    words = sum(len(re.findall(r"\S+", text)) for text in texts)
    if not words:
        raise DataError(f"{len(texts)} texts without a word: nothing to measure a tokenizer on; give others")
    counts_V = np.bincount(np.concatenate(encoded), minlength=tokenizer.vocab)
    sizes_V = tokenizer.piece_bytes
    falling = np.sort(counts_V)[::-1].cumsum()
    return Fertility(
        vocab=tokenizer.vocab,
        bytes_per_token=float(counts_V @ sizes_V / counts_V.sum()),
        tokens_per_word=float(counts_V.sum() / words),
        spelt_bytes=float(counts_V[tokenizer.spells].sum() / (counts_V @ sizes_V)),
        used=float((counts_V > 0).mean()),
        half=int(np.searchsorted(falling, counts_V.sum() / 2) + 1),
    )
