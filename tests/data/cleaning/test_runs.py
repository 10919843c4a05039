"""Words and lines counted in bytes, against the methods of `str`."""

import sys

import numpy as np
import pytest

from scaling.data.cleaning import runs

PIECES = ["a", "word", "Ω", "字", "\U0001d54f", "12", "-", "é7", *" \t\n\r\v\f\x1c\x1d\x1e\x1f", *runs.WIDE_SPACE]


def test_white_space_is_what_str_takes_for_it():
    space = "".join(map(chr, filter(lambda code: chr(code).isspace(), range(sys.maxunicode + 1))))
    assert runs.SPACE.decode() + runs.WIDE_SPACE == space


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_str(seed):
    random = np.random.default_rng(seed)
    for _ in range(20):
        text = "".join(random.choice(PIECES, int(random.integers(0, 40))))
        raw, words = runs.with_plain_space(text), text.split()
        assert runs.words_and_spaces(raw) == (len(words), sum(map(str.isspace, text)))
        letters = [word for word in words if any(letter.isascii() and letter.isalpha() for letter in word)]
        assert runs.words_with_ascii_letter(raw) == len(letters)
        beyond = [word for word in words if not word.isascii()]
        assert runs.words_with_letter_at_most(raw) == len(letters) + len(
            [word for word in beyond if word not in letters]
        )
        assert runs.lines(raw) == sum(bool(line.strip()) for line in text.split("\n"))
