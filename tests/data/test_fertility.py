import numpy as np
import pytest

from scaling.data.fertility import fertility
from scaling.data.sources import DataError
from scaling.data.tokenizer import Tokenizer, train_tokenizer

TEXT = "the cat sat on the mat 2024 "


@pytest.fixture(scope="module")
def learned():
    return train_tokenizer([TEXT * 200], "bpe", 300)


def test_raw_bytes_hold_one_byte_a_token_and_are_all_spelt_out():
    found = fertility(Tokenizer("bytes", b""), ["ab cd", "é"])
    assert found.bytes_per_token == 1
    assert found.spelt_bytes == 1
    assert found.tokens_per_word == 7 / 3  # five and two bytes, three words
    assert found.used == 7 / 257
    assert found.half == 4  # of seven different tokens, once each


def test_learned_pieces_shorten_the_text_they_were_learned_from(learned):
    found = fertility(learned, [TEXT])
    tokens = len(learned.encode([TEXT])[0])
    assert found.bytes_per_token == len(TEXT) / tokens > 1.5
    assert found.tokens_per_word == tokens / 7
    assert found.spelt_bytes == 0


def test_what_no_piece_covers_is_counted_as_spelt_out(learned):
    found = fertility(learned, ["中the"])
    tokens = learned.encode(["中the"])[0]
    assert learned.spells[tokens].sum() == 3  # the bytes of one character
    assert found.spelt_bytes == pytest.approx(3 / 6)


def test_spelling_tokens_are_the_256_bytes(learned):
    assert learned.spells.sum() == 256
    assert np.all(learned.piece_bytes[learned.spells] == 1)


def test_texts_without_a_word_are_refused():
    with pytest.raises(DataError, match="2 texts without a word"):
        fertility(Tokenizer("bytes", b""), ["", "  \n"])
