import pytest

from scaling.config.cleaning_heuristics import C4
from scaling.data.cleaning.c4 import c4
from scaling.data.sources import DataError, Document

GOOD = ["This is a first sentence here.", "Here is a second one!", 'Is this "the third one"?']


def judged(*lines: str, **changes):
    return c4(C4(**changes))(Document(name="d", text="\n".join(lines)))


def test_a_page_of_sentences_stays_as_it_is():
    verdict = judged(*GOOD)
    assert (verdict.text, verdict.reason, verdict.counts) == ("\n".join(GOOD), "", {})


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("no mark at the end of this line", "lines without a mark at their end"),
        ("Only four words here.", "lines of few words"),
        ("Please enable Javascript to read this page.", "lines on scripts and policies"),
        ("Read our Privacy Policy before you go on.", "lines on scripts and policies"),
    ],
)
def test_a_line_that_is_no_sentence_is_cut_and_counted(line, kind):
    verdict = judged(*GOOD[:2], line, *GOOD[2:])
    assert (verdict.text, verdict.reason, verdict.counts) == ("\n".join(GOOD), "lines cut", {kind: 1})


@pytest.mark.parametrize("end", [".", "!", "?", '"', "”", ".  "])
def test_what_ends_a_sentence_stays(end):
    line = f"There are five words here{end}"
    assert line in judged(*GOOD, line).text


def test_five_words_make_a_line_and_three_sentences_a_page():
    assert "Here are five words now." in judged(*GOOD, "Here are five words now.").text
    assert judged(*GOOD[:2]).reason == "too few sentences"
    assert judged("One sentence here. And a second one. And a third one.").reason == ""
    assert judged(*GOOD[:2], least_sentences=2).reason == ""
    assert judged(*GOOD, "Four words are these.", least_line_words=4).counts == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("function() { return 1 }.", "curly bracket"),
        ("Then came lorem Ipsum dolor sit amet.", "lorem ipsum"),
    ],
)
def test_a_page_of_code_or_of_filler_is_dropped(line, reason):
    verdict = judged(*GOOD, line)
    assert (verdict.text, verdict.reason) == (None, reason)


def test_braces_and_ends_can_be_allowed():
    assert judged(*GOOD, "def f(x): return {x for x in y}.", braces=True).reason == ""
    assert judged(*GOOD, "five words without a mark", terminal_punctuation=False).reason == ""


def test_marks_of_an_encyclopedia_go():
    verdict = judged(*GOOD, "The sun is a star.[12] It is warm.[citation needed]")
    assert verdict.reason == "lines cut"  # a line that ends in a bracket is no sentence
    assert judged(*GOOD, "The sun[3] is a near star.").text.endswith("The sun is a near star.")


def test_bad_words_are_whole_words_of_a_file(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("Darn\nhot stuff\nx-y\n\n")
    for line, reason in [
        ("Well darn that is bad.", "bad word"),
        ("This is HOT stuff for you.", "bad word"),
        ("It is an x-y for you.", "bad word"),
        ("It was darned and hot stuffing.", ""),
        ("It is a max-yes for you.", ""),
    ]:
        assert judged(*GOOD, line, bad_words=str(path)).reason == reason


def test_a_list_of_bad_words_that_is_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"C4\.bad_words='.*none': cannot be read"):
        c4(C4(bad_words=str(tmp_path / "none")))
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(DataError, match=r"C4\.bad_words='.*empty': no word in it"):
        c4(C4(bad_words=str(tmp_path / "empty")))


def test_cleaning_twice_is_cleaning_once():
    once = judged(*GOOD, "no end", "The sun[3] is a near star.").text
    assert judged(once).text == once


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"C4\.least_sentences=-1: must not be negative"):
        C4(least_sentences=-1)
