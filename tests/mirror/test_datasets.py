"""Prepared data on a store: put once by their content, fetched whole."""

from dataclasses import replace

import pytest

from scaling.config import DataConfig
from scaling.data.prepare import pinned, prepare
from scaling.mirror.bucket import Bucket
from scaling.mirror.datasets import fetch_data, push_data


@pytest.fixture(scope="module")
def prepared(corpus, tmp_path_factory):
    data = DataConfig(source=corpus, tokenizer="bytes", vocab=257, heldout_sequences=4)
    store = prepare(data, tmp_path_factory.mktemp("root"), lambda line: None)
    return replace(data, content=store.manifest.content), store


def test_data_are_put_once_and_serve_where_their_source_is_not(store, prepared, tmp_path):
    data, made = prepared
    assert not fetch_data(data, store, tmp_path, print)  # nobody has put them
    assert push_data(data, made, store)
    before = store.sizes()
    assert not push_data(data, made, store)
    assert store.sizes() == before
    elsewhere = replace(data, source=replace(data.source, path="/nowhere"))
    assert pinned(elsewhere, tmp_path) is None
    said = []
    assert fetch_data(elsewhere, store, tmp_path, said.append)
    assert "MB of prepared data from" in said[0]
    found = prepare(elsewhere, tmp_path, print)
    assert found.train.tolist() == made.train.tolist() and found.manifest == made.manifest
    assert sorted(path.name for path in found.tokenizer_folder.iterdir()) == sorted(
        path.name for path in made.tokenizer_folder.iterdir()
    )
    assert fetch_data(elsewhere, store, tmp_path, said.append)  # twice does no harm
    assert len(list((tmp_path / "datasets").glob("*/*"))) == 1


def test_who_is_slower_takes_his_files_back(store, prepared, monkeypatch):
    data, made = prepared
    upload, others = Bucket.upload, []

    def meanwhile(self, path, name):
        upload(self, path, name)
        if name.endswith("tokens/train.bin") and not others:
            others.append(name)
            assert push_data(data, made, store)

    monkeypatch.setattr(Bucket, "upload", meanwhile)
    assert not push_data(data, made, store)
    folders = {name.split("/")[3] for name in store.sizes()}
    assert len(folders) == 2  # one who put them, and the file that names him


@pytest.mark.parametrize("store", ["memory", "file"], indirect=True)
def test_a_put_that_was_cut_off_counts_for_nothing(store, prepared, tmp_path, monkeypatch):
    data, made = prepared
    upload = Bucket.upload

    def cut_off(self, path, name):
        if name.endswith("manifest.json"):
            raise OSError("the line is cut")
        upload(self, path, name)

    monkeypatch.setattr(Bucket, "upload", cut_off)
    with pytest.raises(OSError, match="the line is cut"):
        push_data(data, made, store)
    assert not fetch_data(data, store, tmp_path, print)
    monkeypatch.undo()
    assert push_data(data, made, store)
    assert fetch_data(data, store, tmp_path, print)


def test_what_arrives_short_is_said_and_leaves_nothing(store, prepared, tmp_path):
    data, made = prepared
    push_data(data, made, store)
    name = next(name for name in store.sizes() if name.endswith("train.bin"))
    store.rewrite(name, store.read(name)[:-1])
    with pytest.raises(OSError, match=r"train.bin: arrived cut short; remove .*whole.json there"):
        fetch_data(data, store, tmp_path, print)
    assert list((tmp_path / "datasets").glob("*/*")) == []
