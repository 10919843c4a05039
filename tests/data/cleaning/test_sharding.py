"""What compares documents gives the same verdicts however they are cut into shards, and in whatever order."""

import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from scaling.config.cleaning_duplicates import (
    Decontaminate,
    DuplicateLines,
    DuplicateParagraphs,
    DuplicateSubstrings,
    DuplicateURLs,
    ExactDuplicates,
    NearDuplicates,
)
from scaling.data.cleaning.contract import Placed
from scaling.data.cleaning.decontaminate import decontaminate
from scaling.data.cleaning.duplicates import duplicate_urls, exact_duplicates
from scaling.data.cleaning.near import near_duplicates
from scaling.data.cleaning.repeated import duplicate_lines, duplicate_paragraphs
from scaling.data.cleaning.substrings import duplicate_substrings
from scaling.data.cleaning.tables import database, needed, read
from scaling.data.sources import DataError
from tests.data.cleaning.runner import placed, run

STDLIB = Path(sysconfig.get_paths()["stdlib"])


@pytest.fixture(scope="module")
def documents() -> list[Placed]:
    """Sources of the standard library with copies, whole and edited; indices with gaps, as earlier steps leave them."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((STDLIB / "email").glob("*.py"))[:12]]
    texts += [texts[3], "One more line.\n" + texts[5], texts[2] + texts[1], "", "..."]
    found = placed(texts)
    return [
        replace(p, index=3 * p.index + 7, document=replace(p.document, url=f"http://a.org/{p.index % 9}"))
        for p in found
    ]


def steps(folder: Path) -> list:
    return [
        decontaminate(Decontaminate(paths=(str(folder / "evaluation.txt"),))),
        duplicate_lines(DuplicateLines(least_words=4)),
        duplicate_paragraphs(DuplicateParagraphs()),
        duplicate_substrings(DuplicateSubstrings()),
        duplicate_urls(DuplicateURLs()),
        exact_duplicates(ExactDuplicates()),
        near_duplicates(NearDuplicates()),
    ]


@pytest.mark.parametrize("number", range(7))
def test_verdicts_do_not_depend_on_shards_or_their_order(number, documents, tmp_path):
    (tmp_path / "evaluation.txt").write_text(documents[4].document.text[2000:2500])
    step = steps(tmp_path)[number]
    whole = run(step, documents, tmp_path / "whole", shard=100)
    assert any(verdict.text != p.document.text for verdict, p in zip(whole, documents, strict=True))
    assert run(step, documents, tmp_path / "three", shard=3, seed=1) == whole
    assert run(step, documents, tmp_path / "one", shard=1, seed=2) == whole


def test_a_shard_of_which_nothing_is_left_is_no_trouble(documents, tmp_path):
    (tmp_path / "evaluation.txt").write_text(documents[4].document.text[2000:2500])
    for number, step in enumerate(steps(tmp_path)):
        assert step.sketch([]).schema == step.sketch(documents[:1]).schema
        verdicts = run(step, documents[:2], tmp_path / str(number))
        assert len(verdicts) == 2
        assert step.apply([], tmp_path / str(number) / "decision") == []


def test_no_sketch_at_all_is_refused(tmp_path):
    with pytest.raises(DataError, match="no documents to compare"), database([], tmp_path):
        pass


def test_names_of_folders_may_hold_quotes(documents, tmp_path):
    verdicts = run(exact_duplicates(ExactDuplicates()), documents, tmp_path / "it's here")
    assert read(tmp_path / "it's here" / "decision" / "dropped.parquet", documents)["index"].to_pylist() == [43]
    assert verdicts[12].text is None


def test_a_package_that_is_missing_is_named():
    with pytest.raises(DataError, match=r"needs the package no_such_package: pip install 'scaling-lab\[data\]'"):
        needed("no_such_package")
