from functools import partial
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds

from scaling.config import Source
from scaling.data.corpus import Corpus
from scaling.data.sources import DataError, documents, fingerprint


def found(kind, path, **options):
    return list(documents(Source(kind=kind, path=str(path), **options)))


def texts(kind, path, **options):
    return {document.name: document.text for document in found(kind, path, **options) if not document.fault}


def faults(kind, path, **options):
    return {document.name: document.fault for document in found(kind, path, **options) if document.fault}


def test_a_parquet_column_is_the_text(tmp_path):
    pq.write_table(pa.table({"body": ["one", "é"], "n": [1, 2]}), tmp_path / "a.parquet")
    assert texts("parquet", tmp_path, field="body") == {"a.parquet:0": "one", "a.parquet:1": "é"}


@pytest.mark.parametrize("kind", [pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_a_parquet_column_of_any_kind_of_text_is_read(tmp_path, kind):
    pq.write_table(pa.table({"text": pa.array(["one", "two", "one"]).cast(kind)}), tmp_path / "a.parquet")
    assert list(texts("parquet", tmp_path).values()) == ["one", "two", "one"]


def test_parquet_columns_say_where_a_document_is_from(tmp_path):
    table = {"text": ["one", "two", "three"], "id": [7, 8, None], "url": ["http://a", None, "http://c"]}
    table |= {"lang": ["en", "de", b"\xff".decode("latin-1")], "terms": ["CC0", "", "MIT"]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    options = {"id_field": "id", "url_field": "url", "language_field": "lang", "licence_field": "terms"}
    rows = found("parquet", tmp_path, **options)
    assert [(row.name, row.url, row.language, row.licence) for row in rows] == [
        ("7", "http://a", "en", "CC0"),
        ("8", "", "de", ""),
        ("a.parquet:2", "http://c", "ÿ", "MIT"),
    ]


def test_faults_of_parquet_cells_are_named_and_the_others_are_used(tmp_path):
    cells = [b"one", None, b"", b"\xff", b"x\0", b"y" * 200, b"two"]
    pq.write_table(pa.table({"text": pa.array(cells, pa.binary())}), tmp_path / "a.parquet")
    assert list(texts("parquet", tmp_path, most_bytes=100).values()) == ["one", "two"]
    assert faults("parquet", tmp_path, most_bytes=100) == {
        "a.parquet:1": "null",
        "a.parquet:2": "empty",
        "a.parquet:3": "not UTF-8",
        "a.parquet:4": "binary",
        "a.parquet:5": "too long",
    }


@pytest.mark.parametrize(
    ("column", "options", "message"),
    [
        (["x"], {}, r"a\.parquet: no column 'text'; it has \['body'\]; set Source\.field"),
        (["x"], {"field": "body", "url_field": "ulr"}, r"a\.parquet: no column 'ulr'; it has \['body'\]"),
        ([1], {"field": "body"}, r"column 'body' holds int64, not text; choose another Source\.field"),
    ],
)
def test_a_parquet_file_without_the_text_is_refused(tmp_path, column, options, message):
    pq.write_table(pa.table({"body": column}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        texts("parquet", tmp_path / "a.parquet", **options)


def test_a_parquet_file_without_the_text_among_others_is_skipped_and_named(tmp_path):
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": [3]}), tmp_path / "c.parquet")
    assert texts("parquet", tmp_path) == {"b.parquet:0": "x"}
    assert faults("parquet", tmp_path) == {"a.parquet": "no such field", "c.parquet": "not text"}


def test_a_truncated_parquet_file_is_refused_alone_and_skipped_among_others(tmp_path):
    pq.write_table(pa.table({"text": ["x"] * 100}), tmp_path / "b.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "b.parquet").read_bytes()[:-9])
    assert faults("parquet", tmp_path) == {"a.parquet": "damaged file"}
    assert len(texts("parquet", tmp_path)) == 100
    with pytest.raises(DataError, match=r"a\.parquet: damaged or truncated \(.*\); fetch it again"):
        texts("parquet", tmp_path / "a.parquet")


def local_tfds(tmp_path, monkeypatch, **options):
    """A TFDS data set named `corpus` in TFDS's own folder."""
    (tmp_path / "texts").mkdir()
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / "texts" / name).write_text(f"text of {name}")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    walk = partial(documents, Source(kind="folder", path=str(tmp_path / "texts")))
    builder = Corpus(walk=walk, validation_fraction=0.5, data_dir=str(tmp_path / "tfds"))
    builder.download_and_prepare(**options)


def test_a_tfds_data_set_gives_the_examples_of_its_train_split(tmp_path, monkeypatch):
    local_tfds(tmp_path, monkeypatch)
    found = texts("tfds", "corpus")
    assert found and set(found.values()) < {f"text of {name}" for name in "abcde"}
    assert list(found) == [f"train:{index}" for index in range(len(found))]
    before = fingerprint(Source(kind="tfds", path="corpus"))
    (tmp_path / "tfds" / "corpus" / "1.1.0" / "features.json").touch()
    assert fingerprint(Source(kind="tfds", path="corpus")) != before


def test_a_tfds_data_set_that_cannot_serve_is_named(tmp_path, monkeypatch):
    local_tfds(tmp_path, monkeypatch)
    with pytest.raises(
        DataError, match=r"corpus, example 0: no text feature 'body'; it has \['language', 'licence', 'name'"
    ):
        texts("tfds", "corpus", field="body")
    with pytest.raises(DataError, match=r"TFDS knows no such data set, in its catalogue or in .*tfds; mend"):
        texts("tfds", "no_such_data_set_at_all")
    with pytest.raises(DataError, match=r"path='corpus:7\.0\.0'.*only: 1\.1\.0; mend Source\.path"):
        texts("tfds", "corpus:7.0.0")


def test_a_tfds_data_set_without_a_readable_train_split_is_named(monkeypatch):
    def not_random_access(split):
        raise NotImplementedError

    def builder(splits):
        info = SimpleNamespace(splits=splits, file_format="tfrecord")
        return SimpleNamespace(is_prepared=lambda: True, info=info, data_dir="there", as_data_source=not_random_access)

    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: builder(["test"]))
    with pytest.raises(DataError, match=r"some: has no split 'train', only \['test'\]; choose another"):
        texts("tfds", "some")
    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: builder(["train"]))
    with pytest.raises(
        DataError, match=r"some: prepared as tfrecord in there, which needs TensorFlow; prepare it again"
    ):
        texts("tfds", "some")
