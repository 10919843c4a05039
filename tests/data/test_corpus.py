import hashlib
from functools import partial

import pytest
import tensorflow_datasets as tfds

from scaling.config import Source
from scaling.data.corpus import Corpus, build_corpus, in_order, is_validation, read_corpus, read_summary
from scaling.data.sources import DataError, Document, documents
from scaling.data.sources.skips import Skipped


def silent(line):
    pass


def walk(folder):
    return partial(documents, Source(kind="folder", path=str(folder)))


def test_a_corpus_reads_back_through_tfds_and_grain(tmp_path, folder):
    summary = build_corpus(tmp_path, walk(folder), 0.2, silent, "here")
    splits = read_corpus(tmp_path)
    found = {split: [example["name"].decode() for example in in_order(examples)] for split, examples in splits.items()}
    assert found["train"] == sorted(found["train"])
    assert all(is_validation(name, 0.2) for name in found["validation"])
    assert not any(is_validation(name, 0.2) for name in found["train"])
    assert sorted(found["train"] + found["validation"]) == [f"d{number:02d}.txt" for number in range(60)]
    example = splits["train"][3]
    assert example["text"] == (folder / example["name"].decode()).read_bytes()
    assert example["sha256"].decode() == hashlib.sha256(example["text"]).hexdigest()
    assert summary == read_summary(tmp_path)
    assert summary.documents == {split: len(names) for split, names in found.items()}
    assert sum(summary.bytes.values()) == sum((folder / f"d{number:02d}.txt").stat().st_size for number in range(60))
    assert summary.skipped == {"not UTF-8": Skipped(documents=1, names=["latin.txt"])}
    # and by name, as any other TFDS data set
    assert len(tfds.data_source("corpus", data_dir=str(tmp_path), split="train")) == len(found["train"])


def test_a_source_is_read_once_and_what_it_says_of_documents_is_kept(tmp_path):
    reads = []

    def walk():
        reads.append(0)
        for number in range(40):
            reads[-1] += 1
            yield Document(name=str(number), text=f"text {number}", url=f"u{number}", language="en", licence="CC0")

    build_corpus(tmp_path, walk, 0.5, silent, "here")
    # Once whole, after a look at the first of each split.
    assert len(reads) == 2 and reads[0] < 20 and reads[1] == 40
    splits = read_corpus(tmp_path)
    for examples in splits.values():
        for example in in_order(examples):
            assert example["url"] == b"u" + example["name"]
            assert (example["language"], example["licence"]) == (b"en", b"CC0")
    assert sum(map(len, splits.values())) == 40
    assert not list(tmp_path.rglob("aside*"))


def test_content_names_the_documents_and_the_split(tmp_path):
    def content(name, files, fraction=0.5):
        (tmp_path / name / "in").mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / "in" / file).write_text(text)
        return build_corpus(tmp_path / name / "out", walk(tmp_path / name / "in"), fraction, silent, "here").content

    files = {letter: f"text {letter}" for letter in "abcdefgh"}
    first = content("1", files)
    assert content("2", files) == first
    assert content("3", files | {"a": "other"}) != first
    assert content("4", {("z" if file == "a" else file): text for file, text in files.items()}) != first
    assert content("5", files, fraction=0.8) != first


def test_the_share_of_held_out_names_is_the_fraction():
    held = sum(is_validation(f"name {number}", 0.05) for number in range(10_000))
    # Binomial: 500 with standard deviation 22.
    assert abs(held - 500) < 100


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"empty corpus, no text in it \(skipped: nothing\); mend Source\.path"),
        ({"a": b""}, r"empty corpus, no text in it \(skipped: 1 empty: a\)"),
        ({"a": b"\xff"}, r"empty corpus, no text in it \(skipped: 1 not UTF-8: a\)"),
        ({"a": b"x"}, r"all 1 documents fall outside the (train|validation) split.*validation_fraction=0\.5"),
    ],
)
def test_a_corpus_without_text_for_both_splits_is_refused(tmp_path, files, message):
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        build_corpus(tmp_path / "out", walk(tmp_path / "in"), 0.5, silent, "here")


def test_the_builder_leaves_no_folder_in_the_temporary_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert Corpus(data_dir=str(tmp_path)).info.features
    assert not list((tmp_path / "temporary").iterdir())
