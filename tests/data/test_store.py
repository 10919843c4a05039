import json
import mmap
import shutil

import numpy as np
import pytest

from scaling.data.sources import DataError
from scaling.data.sources.skips import Skipped
from scaling.data.store import MANIFEST, Encoded, Store, StoreError, ask_for, read_manifest, token_dtype, write_split
from scaling.data.tokenizer import load_tokenizer


@pytest.fixture
def copy(store, tmp_path):
    """A store of one's own to break."""
    return shutil.copytree(store.path, tmp_path / "tokens")


def test_the_store_holds_every_document_followed_by_its_end(store, folder):
    tokenizer = load_tokenizer(store.tokenizer_folder)
    assert tokenizer.sha256 == store.manifest.tokenizer_sha256
    assert tokenizer.vocab == store.manifest.vocab == 300
    found = []
    for stream, ends in ((store.train, store.train_ends), (store.validation, store.validation_ends)):
        assert np.array_equal(np.flatnonzero(stream == store.manifest.eod) + 1, ends)
        assert ends[-1] == len(stream)
        found += [tokenizer.decode(document[:-1].tolist()) for document in np.split(stream, ends[:-1])]
    assert sorted(found) == sorted(path.read_bytes().decode() for path in folder.glob("d*.txt"))


def test_the_manifest_counts_what_is_there(store):
    for stream, ends, counts in (
        (store.train, store.train_ends, store.manifest.train),
        (store.validation, store.validation_ends, store.manifest.validation),
    ):
        assert (len(stream), len(ends)) == (counts.tokens, counts.documents)
        assert store.piece_bytes[stream].sum() == counts.bytes
    assert store.manifest.skipped == {"not UTF-8": Skipped(documents=1, names=["latin.txt"])}


def test_it_describes_itself(store):
    text = str(store)
    assert store.manifest.content in text and "skipped:    1 not UTF-8: latin.txt" in text
    assert f"{store.manifest.train.tokens:,} tokens" in text


def test_a_manifest_that_knew_one_fault_only_is_read(copy):
    values = json.loads((copy / MANIFEST).read_text())
    for count, names, skipped in ((0, [], {}), (7, ["a", "b"], {"not UTF-8": Skipped(documents=7, names=["a", "b"])})):
        (copy / MANIFEST).write_text(json.dumps(values | {"skipped": count, "skipped_names": names}))
        assert Store.open(copy).manifest.skipped == skipped


def test_tokens_take_the_smallest_integers_that_hold_them():
    assert token_dtype(2**16) == np.uint16
    assert token_dtype(2**16 + 1) == np.uint32
    with pytest.raises(DataError, match=r"vocab=2147483649: tokens are 32-bit integers; choose at most 2147483648"):
        token_dtype(2**31 + 1)


def test_large_vocabularies_survive_the_disk(tmp_path):
    tokens = np.array([0, 70_000, 65_536], np.int32)
    counts = write_split(tmp_path, "train", [Encoded(tokens, 5), Encoded(tokens[:0], 0)], vocab=70_001, eod=1)
    assert (counts.documents, counts.tokens, counts.bytes) == (2, 5, 5)
    assert np.fromfile(tmp_path / "train.bin", "<u4").tolist() == [0, 70_000, 65_536, 1, 1]
    assert np.fromfile(tmp_path / "train.ends", "<i8").tolist() == [4, 5]


@pytest.mark.parametrize("token", [-1, 300])
def test_a_token_outside_the_vocabulary_is_refused(tmp_path, token):
    with pytest.raises(DataError, match=rf"document 0 of train holds tokens {token} to {token}.*vocabulary of 300"):
        write_split(tmp_path, "train", [Encoded(np.array([token]), 1)], vocab=300, eod=0)


@pytest.mark.parametrize("name", ["train.bin", "validation.bin", "train.ends", "pieces.bytes"])
@pytest.mark.parametrize("kept", [0, -1, None])
def test_a_truncated_or_missing_file_is_named(copy, name, kept):
    content = (copy / name).read_bytes()
    (copy / name).unlink() if kept is None else (copy / name).write_bytes(content[:kept])
    found = 0 if kept in (0, None) else len(content) - 1
    with pytest.raises(
        StoreError, match=rf"{name}: truncated or changed, {found} bytes instead of {len(content)}; del"
    ):
        Store.open(copy)


def test_a_manifest_that_cannot_be_trusted_is_named(copy):
    values = json.loads((copy / MANIFEST).read_text())
    for text, message in (
        (json.dumps(values)[:-20], "not whole JSON"),
        ("[]", r"format \[\], but this version reads format 1; delete"),
        (json.dumps(values | {"format": 0}), "format 0, but this version reads format 1; delete"),
        (json.dumps(values | {"vocab": "many"}), "vocab: .*found 'many'.*; delete"),
        (json.dumps(values | {"extra": 1}), "extra: .*delete"),
    ):
        (copy / MANIFEST).write_text(text)
        with pytest.raises(StoreError, match=message):
            read_manifest(copy)
    (copy / MANIFEST).unlink()
    with pytest.raises(StoreError, match="no token store here; run `scaling data prepare`"):
        Store.open(copy)


class Told(mmap.mmap):
    """A map that keeps what it is told."""

    def madvise(self, *told):
        self.told = [*getattr(self, "told", []), told]
        if getattr(self, "refuses", False):
            raise OSError("no hints here")
        return super().madvise(*told)


def test_the_system_is_told_of_the_pages_that_are_read_next(tmp_path):
    page = mmap.PAGESIZE
    np.arange(3 * page, dtype="<u2").tofile(tmp_path / "a.bin")  # six pages
    with (tmp_path / "a.bin").open("rb") as file:
        memory = Told(file.fileno(), 0, access=mmap.ACCESS_READ)
    stream = np.ndarray(3 * page, "<u2", buffer=memory)
    ask_for(stream, np.array([0, page + 3, 3 * page - 4]), np.array([5, page, 4]))
    wanted = [(0, 10), (2 * page, 6 + 2 * page), (5 * page, page)]
    assert memory.told == [(mmap.MADV_WILLNEED, *stretch) for stretch in wanted]
    ask_for(stream[5:], np.array([0]), 5)  # a part of a map: its places are others
    ask_for(np.arange(9), np.array([0]), 5)  # in memory
    assert len(memory.told) == 3
    memory.refuses = True
    ask_for(stream, np.array([0, 9]), 5)
    assert len(memory.told) == 4


def test_the_last_tokens_of_a_store_can_be_asked_for(copy):
    store = Store.open(copy)
    ask_for(store.train, np.array([0, len(store.train) - 1]), 1)
    assert isinstance(store.train.base.base, mmap.mmap)
