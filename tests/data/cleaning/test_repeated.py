"""Lines and paragraphs found too often are cut, and nothing else."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scaling.config.cleaning_duplicates import DuplicateLines, DuplicateParagraphs
from scaling.data.cleaning.repeated import _lines, _paragraphs, duplicate_lines, duplicate_paragraphs, normal
from tests.data.cleaning.runner import placed, run


def sentence(number: int, words: int = 12) -> str:
    return " ".join(f"n{number}w{'abcdefghijklmnop'[word]}" for word in range(words))


def cleaned(step, texts, folder, shard=3):
    return [verdict.text for verdict in run(step, placed(texts), folder / "run", shard=shard)]


def test_planted_lines_are_all_cut_but_the_first_and_no_other_line_is(tmp_path):
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    own = iter(["".join(row) for row in rng.choice(letters, (4000, 30))])  # 30 letters: no two alike
    boilerplate = [" ".join(next(own) for _ in range(10)) for _ in range(5)]
    texts, planted = [], 0
    for document in range(60):
        lines = [" ".join(next(own) for _ in range(10)) for _ in range(6)]
        for place in rng.permutation(5)[: document % 4]:
            lines.insert(int(rng.integers(7)), boilerplate[place])
            planted += 1
        texts.append("\n".join(lines))
    found = cleaned(duplicate_lines(DuplicateLines()), texts, tmp_path)
    left = [line for text in found for line in text.split("\n") if line]
    assert planted == 90
    assert [left.count(line) for line in boilerplate] == [1] * 5  # recall 85 of 85
    assert len(left) == 60 * 6 + 5  # no false positive


def test_lines_are_compared_without_case_digits_accents_and_punctuation(tmp_path):
    first = "Le café, 12 fois; où est-il? " + sentence(1)
    second = "le cafe 99 fois, ou estil " + sentence(1).upper()
    assert cleaned(duplicate_lines(DuplicateLines()), [first, f"short\n{second}"], tmp_path) == [first, "short\n"]


def test_short_lines_stay_however_often_they_come(tmp_path):
    texts = [sentence(1, 9) + "\nreturn None\n\n"] * 5
    assert cleaned(duplicate_lines(DuplicateLines()), texts, tmp_path) == texts


def test_a_document_of_which_nothing_is_left_is_dropped(tmp_path):
    verdicts = run(duplicate_lines(DuplicateLines()), placed([sentence(1), f"\n{sentence(1)}\n "]), tmp_path / "run")
    assert [verdict.text for verdict in verdicts] == [sentence(1), None]
    assert verdicts[1].reason == "repeated lines"
    assert verdicts[1].counts == {"repeated lines": 1}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, ["a", "", ""]),
        ({"most": 3}, ["a", "", ""]),  # four times in all
        ({"most": 4}, ["aa", "a", "a"]),
        ({"most": 3, "count": "documents"}, ["aa", "a", "a"]),
        ({"most": 2, "count": "documents"}, ["a", "", ""]),
        ({"most": 2, "count": "documents", "keep_first": False}, ["", "", ""]),
    ],
)
def test_how_often_is_too_often_is_counted_in_places_or_in_documents(options, left, tmp_path):
    texts = [f"{sentence(1)}\n{sentence(1)}\nx", f"{sentence(1)}\nx", f"x\n{sentence(1)}"]
    found = cleaned(duplicate_lines(DuplicateLines(**options)), texts, tmp_path, shard=1)
    assert ["a" * text.count(sentence(1)) for text in found] == left


def test_repeated_paragraphs_are_cut_with_the_blank_lines_after_them(tmp_path):
    texts = ["One.\n\n  Two\nlines.\n \nThree.", "Two lines\n\n\nFour.\n\nthree"]
    assert cleaned(duplicate_paragraphs(DuplicateParagraphs()), texts, tmp_path) == [texts[0], "Four.\n\n"]


@given(st.text(alphabet="ab \n\t\u2028é"))
def test_parts_joined_are_the_text(text):
    assert "".join(_lines(text)) == text
    assert "".join(_paragraphs(text)) == text


@given(st.text())
@example("\x1f")  # parts words of a str, not of bytes
def test_normal_form_has_no_more_words_than_the_text(text):
    assert len(normal(text).split()) <= len(text.split())
