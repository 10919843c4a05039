"""Evaluation text planted in documents is found and cut; ordinary documents are left alone."""

import json

import numpy as np
import pytest

from scaling.config.cleaning_duplicates import Decontaminate
from scaling.data.cleaning.decontaminate import decontaminate
from scaling.data.cleaning.recipe import folder_key
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


def test_all_kinds_of_files_are_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "one.txt").write_text(" ".join(EXAMPLES[0]))
    pq.write_table(pa.table({"text": [" ".join(EXAMPLES[1])]}), tmp_path / "two.parquet")
    config = Decontaminate(paths=(str(tmp_path / "one.txt"), str(tmp_path / "two.parquet")), mode="drop")
    texts = [" ".join(example) for example in EXAMPLES[:3]]
    assert kept(run(decontaminate(config), placed(texts), tmp_path / "run")) == [2]


def test_other_evaluation_sets_make_another_recipe(tmp_path):
    path = tmp_path / "one.txt"
    keys = []
    for example in EXAMPLES[:2]:
        path.write_text(" ".join(example))
        keys.append(folder_key([Decontaminate(paths=(str(path),))]))
    assert keys[0] != keys[1]


def test_evaluation_sets_without_a_long_enough_example_are_refused(tmp_path):
    (tmp_path / "short.txt").write_text("only a few words")
    with pytest.raises(DataError, match="no example has 13 words"):
        decontaminate(Decontaminate(paths=(str(tmp_path / "short.txt"),)))
    for paths in ((), ("folder",)):
        with pytest.raises(ValueError, match="name at least one evaluation set"):
            Decontaminate(paths=paths)
    with pytest.raises(ValueError, match="must not be negative"):
        Decontaminate(paths=("a.txt",), margin=-1)
    with pytest.raises(ValueError, match="must not be negative"):
        Decontaminate(paths=("a.txt",), least_piece=-1)
