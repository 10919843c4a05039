"""Evaluation text planted in documents is found and cut; ordinary documents are left alone."""

import json

import numpy as np
import pytest

from scaling.config.cleaning_duplicates import Decontaminate
from scaling.data.cleaning.decontaminate import content_of, decontaminate
from scaling.data.sources import DataError
from tests.data.cleaning.runner import kept, placed, run

RNG = np.random.default_rng(0)


def own_words(count: int) -> list[str]:
    return [f"{word:x}" for word in RNG.integers(1 << 62, size=count)]


EXAMPLES = [own_words(40) for _ in range(30)]
FILLER = [(own_words(60), own_words(60)) for _ in range(120)]


@pytest.fixture
def evaluation(tmp_path):
    path = tmp_path / "evaluation.jsonl"
    path.write_text("".join(json.dumps({"question": " ".join(example)}) + "\n" for example in EXAMPLES))
    return {"paths": (str(path),), "field": "question"}


def planted(words: int) -> list[str]:
    """120 documents; every fourth has so many words of an example between its own, differently written."""
    texts = []
    for number, (before, after) in enumerate(FILLER):
        part = [] if number % 4 else [", ".join(EXAMPLES[number // 4][7 : 7 + words]).upper()]
        texts.append(" ".join([*before, *part, *after]))
    return texts


@pytest.mark.parametrize(("words", "found"), [(40 - 7, 30), (13, 30), (12, 0)])
def test_overlaps_of_thirteen_words_are_found_and_shorter_ones_are_not(words, found, evaluation, tmp_path):
    texts = planted(words)
    verdicts = run(decontaminate(Decontaminate(mode="drop", **evaluation)), placed(texts), tmp_path / "run")
    gone = sorted(set(range(120)) - set(kept(verdicts)))
    assert gone == list(range(0, 120, 4))[:found]  # recall 30 of 30, false positives 0 of 90
    assert all(verdict.reason == "evaluation text" for verdict in verdicts if verdict.text is None)


def test_the_overlap_goes_with_its_margins_and_the_rest_stays(evaluation, tmp_path):
    texts = planted(20)
    verdicts = run(decontaminate(Decontaminate(margin=50, **evaluation)), placed(texts), tmp_path / "run")
    assert [verdict.text for place, verdict in enumerate(verdicts) if place % 4] == [
        text for place, text in enumerate(texts) if place % 4
    ]
    start = len(" ".join(FILLER[0][0])) + 1
    stop = start + len(", ".join(EXAMPLES[0][7:27]))
    assert verdicts[0].text == texts[0][: start - 50] + "\n" + texts[0][stop + 50 :]
    assert verdicts[0].counts == {"overlaps with evaluation sets": 8}


def test_short_pieces_go_and_so_does_a_document_in_too_many_pieces(evaluation, tmp_path):
    example = " ".join(EXAMPLES[0])
    short, long = "s" * 150, "l" * 700
    texts = [f"{short} {example} {long}", f"{example} {short}", f" {example} ".join([long] * 4)]
    step = decontaminate(Decontaminate(most_pieces=3, margin=0, **evaluation))
    verdicts = run(step, placed(texts), tmp_path / "run")
    assert verdicts[0].text == f" {long}"
    assert verdicts[1].text is None
    assert verdicts[2].text is None


def test_what_is_in_many_documents_is_a_common_phrase(evaluation, tmp_path):
    texts = [f"{' '.join(EXAMPLES[0][:13])} {number}" for number in range(11)] + [" ".join(EXAMPLES[1])] * 10
    verdicts = run(decontaminate(Decontaminate(mode="drop", **evaluation)), placed(texts), tmp_path / "run")
    assert kept(verdicts) == list(range(11))


def test_the_evaluation_sets_are_pinned_by_their_content(evaluation, tmp_path):
    content = content_of(Decontaminate(**evaluation))
    other = tmp_path / "other.txt"
    other.write_text("quite another evaluation set, of more than thirteen words in a row, as many as are needed here")
    assert decontaminate(Decontaminate(content=content, **evaluation))
    with pytest.raises(DataError, match=f"the evaluation sets changed; .*content='{content}'"):
        decontaminate(Decontaminate(content="0" * 64, **evaluation))
    assert content_of(Decontaminate(paths=(str(other),))) != content


def test_evaluation_sets_without_a_long_enough_example_are_refused(tmp_path):
    (tmp_path / "short.txt").write_text("only a few words")
    with pytest.raises(DataError, match="no example has 13 words"):
        decontaminate(Decontaminate(paths=(str(tmp_path / "short.txt"),)))
    with pytest.raises(ValueError, match="name at least one evaluation set"):
        Decontaminate()
    with pytest.raises(ValueError, match="must not be negative"):
        Decontaminate(paths=("a",), margin=-1)
    with pytest.raises(ValueError, match="must not be negative"):
        Decontaminate(paths=("a",), least_piece=-1)
