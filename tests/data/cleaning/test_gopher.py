"""Every rule of quality with a text on either side of its threshold."""

import pytest

from scaling.config.cleaning import Lengths
from scaling.config.cleaning_heuristics import GopherQuality
from scaling.data.cleaning.gopher import lengths, quality
from scaling.data.sources import Document

# 100 words, mean length 3.96, two stop words among ten.
PROSE = "the cats and dogs sleep on warm red old mats\n" * 10


def reason(text: str, **changes) -> str:
    verdict = quality(GopherQuality(**changes))(Document(name="d", text=text))
    assert (verdict.text is None) == bool(verdict.reason)
    assert verdict.text in (None, text)
    return verdict.reason


def words(count: int, word: str = "that") -> str:
    return " ".join([*[word] * (count - 2), "with", "have"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, ""),
        (words(49), "too few words"),
        (words(50), ""),
        (words(100_000), ""),
        (words(100_001), "too many words"),
        # 50 words of 150 characters in all, and of 149
        (" ".join(["the"] * 49 + ["and"]), ""),
        (" ".join(["the"] * 48 + ["and", "to"]), "words too short"),
        # a mean of exactly 10 characters, and one more
        (
            " ".join(["abcdefghijk"] * 42 + ["the", "and", "that", "have", "with"] + ["abcdefg", "abcdefg", "abcdef"]),
            "",
        ),
        (" ".join(["abcdefghijk"] * 47 + ["the", "and", "that"]), "words too long"),
        (words(89) + " # # # # # # # # # # word", ""),
        (words(88) + " # # # # # # # # # # # word", "too many hash signs"),
        (words(88) + " and..." * 6 + " to…" * 5 + " word", "too many ellipses"),
        (words(89) + " and..." * 5 + " to…" * 5 + " word", ""),
        # 80 words in 100 have a letter, and 79
        (words(80) + " 1234" * 20, ""),
        (words(79) + " 1234" * 21, "too many words without a letter"),
        (words(79) + " 1234" * 20 + " ελλα", ""),  # letters of any script count
        (words(79) + " 1234" * 20 + " ——", "too many words without a letter"),
        ("The dogs " * 30, "too few stop words"),
        ("The dogs TO cats " * 30, ""),
        ("- the cats and dogs\n" * 18 + "no bullet\n" * 2, ""),
        ("- the cats and dogs\n" * 19 + "no bullet\n" * 2, "too many lines with a bullet"),
        ("  • the cats and dogs\n\n" * 19 + "no bullet\n\n\n" * 2, "too many lines with a bullet"),
        ("the cats and dogs sleep there...\n" * 3 + "the cats and dogs sleep there\n" * 7, ""),
        (
            "the cats and dogs sleep there…  \n" * 4 + "the cats and dogs sleep there\n" * 9,
            "too many lines that end in an ellipsis",
        ),
    ],
)
def test_a_text_on_either_side_of_each_threshold(text, expected):
    assert reason(text) == expected


def test_thresholds_are_fields():
    assert reason(words(10), least_words=10) == ""
    assert reason(words(11), least_words=5, most_words=10) == "too many words"
    assert reason("red old " * 30, least_stop_words=0) == ""
    assert reason(words(80) + " 1234" * 20, least_words_with_letter=0.81) == "too many words without a letter"


@pytest.mark.parametrize(("text", "expected"), [("a " * 49, "too few words"), ("a\n" * 50, ""), ("", "too few words")])
def test_lengths_alone_count_words(text, expected):
    assert lengths(Lengths())(Document(name="d", text=text)).reason == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"least_words": 0}, r"GopherQuality\.least_words=0: must be positive"),
        ({"least_words": 9, "most_words": 8}, r"GopherQuality\.least_words=9: must not exceed most_words=8"),
        ({"least_mean_word": 11.0}, r"least_mean_word=11\.0: must not exceed most_mean_word=10\.0"),
        ({"most_bullet_lines": 1.1}, r"most_bullet_lines=1\.1: must lie between 0 and 1"),
        ({"most_symbols": -0.1}, r"most_symbols=-0\.1: must not be negative"),
        ({"least_stop_words": 9}, r"least_stop_words=9: there are 8 of them"),
    ],
)
def test_thresholds_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GopherQuality(**changes)


@pytest.mark.parametrize("space", [" ", "\xa0", "\u3000"])
@pytest.mark.parametrize(("digits", "expected"), [(20, ""), (21, "too many words without a letter")])
def test_words_with_a_letter_are_counted_in_any_script_and_between_any_spaces(space, digits, expected):
    made = ["with", "have"] + ["that"] * 28 + ["1234"] * digits + ["даже"] * (70 - digits)
    assert reason(space.join(made)) == expected


def test_ellipses_within_lines_do_not_count_as_their_ends():
    lines = ["the cats ... and dogs sleep on warm red old mats with straw"] * 12
    assert reason("\n".join(lines)) == ""
    ending = [f"{line} ..." if number < 4 else line for number, line in enumerate(lines)]
    assert reason("\n".join(ending), most_symbols=1.0) == "too many lines that end in an ellipsis"


@pytest.mark.parametrize("space", ["\x1c", "\x1d", "\x1e", "\x1f", "\x85"])
@pytest.mark.parametrize(("digits", "expected"), [(20, ""), (21, "too many words without a letter")])
def test_separators_of_information_part_words_and_are_none(space, digits, expected):
    made = ["with", "have"] + ["that"] * (98 - digits) + ["1234"] * digits
    assert reason(space.join(made)) == expected
    assert reason(f" {space} ".join(made)) == expected
