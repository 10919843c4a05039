import numpy as np

from scaling.data.tokenizer import Tokenizer
from scaling.objectives.marks import marks

PIECES = [b"def", b" def", b"_x", b"7", b".", b"...", b" ", b"\n", b"\n    ", b"(", b"\xc3", b"\xa9", "é".encode(), b""]
BEGINS = [False, True, False, False, True, True, True, True, True, True, False, False, False, True]
ENDS = [False, False, False, False, True, True, False, True, True, False, False, False, False, True]


def test_words_begin_with_what_is_no_letter_and_sentences_end_with_stops_and_lines():
    found = marks(PIECES, specials=0)
    assert found.begins_word_V.tolist() == BEGINS
    assert found.ends_sentence_V.tolist() == ENDS


def test_space_behind_a_stop_still_ends_a_sentence():
    assert marks([b"end. ", b"so! \t", b"a.b", b"x?"], 0).ends_sentence_V.tolist() == [True, True, False, True]


def test_special_tokens_have_no_mark():
    found = marks(PIECES, specials=3)
    for of_token in found:
        assert of_token.dtype == bool and of_token.shape == (len(PIECES) + 3,)
        assert not of_token[-3:].any()


def test_a_line_of_python_falls_into_words():
    tokenizer = Tokenizer("bytes", b"")
    begins = marks(tokenizer.pieces, 0).begins_word_V
    text = "\n    self.total_2 += é(x)"
    (tokens,) = tokenizer.encode([text])
    starts = np.flatnonzero(begins[tokens] | (np.arange(len(tokens)) == 0))
    words = [bytes(part.tolist()).decode() for part in np.split(tokens, starts[1:])]
    assert words == ["\n", " ", " ", " ", " self", ".total_2", " ", "+", "=", " é", "(x", ")"]
