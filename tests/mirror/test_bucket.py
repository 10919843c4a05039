"""Files at a URL: whole or not there, and put where nothing is by one alone."""

import shutil
import threading

import pytest

from scaling.lease import CANCEL, LeaseLost, Watch, take, wait_for
from scaling.mirror.bucket import Bucket, BucketError, bucket_of

QUICK = {"beat_seconds": 0.05, "expiry_seconds": 0.6}


def test_files_are_put_listed_read_and_removed(store, tmp_path):
    assert store.names() == [] and store.sizes() == {} and store.read("a") == b""
    store.rewrite("a", b"1")
    (store / "b").rewrite("c/d", b"22")
    assert sorted(store.names()) == ["a", "b"]
    assert store.sizes() == {"a": 1, "b/c/d": 2}
    store.rewrite("a", b"333")
    assert store.read("a") == b"333" and (store / "b" / "c").read("d") == b"22"
    store.download("b/c/d", tmp_path / "here" / "d")
    assert (tmp_path / "here" / "d").read_bytes() == b"22"
    store.upload(tmp_path / "here" / "d", "e")
    store.remove("a")
    store.remove("a")  # it is not there: nothing
    assert store.sizes() == {"b/c/d": 2, "e": 2}
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["d"]
    with pytest.raises(FileNotFoundError):
        store.download("no", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_file_that_is_being_written_to_a_folder_is_not_seen(tmp_path, monkeypatch):
    store, seen = bucket_of(f"file://{tmp_path}/store"), []
    (tmp_path / "a").write_bytes(b"1")
    copy = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda *paths: (copy(*paths), seen.append((store.names(), store.sizes()))))
    store.upload(tmp_path / "a", "a")
    assert seen == [([], {})] and store.names() == ["a"]


def test_what_is_created_is_there_once(store):
    store.create("a", b"mine")
    with pytest.raises(FileExistsError):
        store.create("a", b"yours")
    assert store.read("a") == b"mine"


def at_once(number, call):
    """What each of so many threads gets that call at the same moment."""
    barrier, found = threading.Barrier(number), [None] * number

    def one(index):
        barrier.wait()
        found[index] = call(index)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_many_that_create_a_file_at_once_one_does(store):
    def create(index):
        try:
            (store / str(turn)).create("a", f"{index}".encode())
            return index
        except FileExistsError:
            return None

    for turn in range(5):
        made = [index for index in at_once(8, create) if index is not None]
        assert len(made) == 1
        assert (store / str(turn)).read("a") == str(made[0]).encode()


def test_of_many_that_want_a_lease_at_once_one_gets_it(store):
    for number in (1, 2):
        found = [lease for lease in at_once(8, lambda _: take(store / "run")) if lease is not None]
        assert len(found) == 1 and found[0].number == number
        found[0].release()
    assert (store / "run").names() == ["lease-000002.json"]


def test_a_holder_that_is_not_heard_of_is_taken_over_and_finds_out(store):
    mine = take(store / "run", **QUICK)
    assert take(store / "run") is None
    mine._ended.set()  # its heart stops, as of a process that is paused
    mine._beats.join()
    other = wait_for(store / "run", patience_seconds=20, look_seconds=0.1)
    assert other.number == 2
    with pytest.raises(LeaseLost, match=r"run: another process has taken this over \(lease 2, ours was 1\)"):
        mine.check()
    other.check()
    mine.release()  # too late to disturb
    other.check()
    other.release()


def test_a_holder_that_beats_keeps_it(store):
    mine, watch = take(store / "run", **QUICK), Watch()
    assert wait_for(store / "run", patience_seconds=1.5, look_seconds=0.1) is None
    assert not watch.is_free(store / "run")
    (store / "run").rewrite(CANCEL, b"")
    while not mine.cancelled:
        mine.check()
    mine.release()


def test_what_a_client_raises_names_the_url(store, monkeypatch):
    def down(*arguments, **options):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(store._files, "cat_file", down)
    with pytest.raises(BucketError, match=rf"{store.url}/a: RuntimeError: no route to host"):
        store.read("a")


def test_stores_that_leases_cannot_be_kept_on_are_refused():
    with pytest.raises(ValueError, match=r"hdfs://lab.*only where none is.*not known; those that can: file"):
        bucket_of("hdfs://lab")
    with pytest.raises(ValueError, match="--store 'lab': give a URL"):
        bucket_of("lab")


def test_buckets_of_one_url_are_one_place():
    assert bucket_of("memory://lab/a/") == bucket_of("memory://lab") / "a"
    assert isinstance(hash(bucket_of("memory://lab")), int) and isinstance(bucket_of("memory://lab"), Bucket)
