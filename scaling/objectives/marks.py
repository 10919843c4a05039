"""Where words begin and sentences end, read off a tokenizer's pieces.

Letters: V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Marks(NamedTuple):
    """Of every token of the vocabulary; bool."""

    begins_word_V: np.ndarray
    ends_sentence_V: np.ndarray


def marks(pieces: Sequence[bytes], specials: int) -> Marks:
    """pieces: the bytes of each ordinary token. specials: tokens that follow them, which have no mark.

    A token begins a word unless its first character is a letter, a digit or
    an underscore, or a part of a character: so a word is what precedes it
    (spaces, a line break, a punctuation mark) and its letters, as far as they
    are tokens. The first token of a text begins a word whatever it is. A
    token ends a sentence if its last character that is no space is . ! or ?,
    or if there is a line break in it. A token without bytes, as the end of a
    document, does both.
    """
    none = (False,) * specials
    return Marks(
        np.array([*map(_begins_word, pieces), *none], bool),
        np.array([*map(_ends_sentence, pieces), *none], bool),
    )


def _begins_word(piece: bytes) -> bool:
    # Bytes cut out of a longer character decode to U+FFFD.
    first = piece.decode(errors="replace")[:1]
    return not (first.isalnum() or first in ("_", "\N{REPLACEMENT CHARACTER}"))


def _ends_sentence(piece: bytes) -> bool:
    text = piece.decode(errors="replace")
    return not text or "\n" in text or text.rstrip().endswith((".", "!", "?"))
