import errno
import io
import os
import sys
import tarfile
import zipfile

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling.config import Source
from scaling.data.sources import DataError, documents, fingerprint, places, readable_name


def texts(kind, path, **options):
    found = documents(Source(kind=kind, path=str(path), **options))
    return {document.name: document.text for document in found if not document.fault}


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty before and after."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


def test_files_anywhere_that_fsspec_reaches_are_read_as_local_ones_are(memory, tmp_path):
    pq.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "a.parquet")
    files = {
        "a.jsonl": b'{"text": "one"}\n{"text": "two"}',
        "deep/b.jsonl": b'{"text": "three"}',
        "a.txt": "words é\n".encode(),
        "a.parquet": (tmp_path / "a.parquet").read_bytes(),
        ".hidden/a.txt": b"hidden",
    }
    for name, content in files.items():
        memory.pipe(f"/bucket/{name}", content)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for kind in ("jsonl", "text", "parquet"):
        assert texts(kind, "memory://bucket") == texts(kind, tmp_path) != {}
        assert texts(kind, f"memory://bucket/a.{kind.replace('text', 'txt')}") != {}
    assert readable_name(Source(kind="jsonl", path="memory://bucket/a.jsonl")) == "a"
    assert readable_name(Source(kind="jsonl", path="zip://::/x/my texts.zip")) == "my-texts"


def test_the_fingerprint_of_a_url_changes_with_its_files_and_only_then(memory, tmp_path):
    source = Source(kind="text", path="memory://bucket")
    memory.pipe("/bucket/a.txt", b"one")
    first = fingerprint(source)
    assert fingerprint(source) == first
    memory.pipe("/bucket/a.txt", b"two")
    second = fingerprint(source)
    memory.pipe("/bucket/b.txt", b"more")
    assert len({first, second, fingerprint(source)}) == 3


@pytest.mark.parametrize("packed", ["zip", "tar", "tar.gz"])
def test_what_an_archive_calls_its_files_decides_nothing(tmp_path, packed):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = inner / f"a.{packed}"
    names = {"good.txt": b"good", "../../escaped.txt": b"upwards", "/absolute.txt": b"rooted"}
    if packed == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in names.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{packed[4:]}") as archive:
            for name, content in names.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            for name, kind, target in (
                ("link.txt", tarfile.SYMTYPE, "/etc/passwd"),
                ("up.txt", tarfile.SYMTYPE, "../../../../etc/passwd"),
                ("hard.txt", tarfile.LNKTYPE, "/etc/passwd"),
                ("device.txt", tarfile.CHRTYPE, ""),
                ("pipe.txt", tarfile.FIFOTYPE, ""),
            ):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, target
                archive.addfile(member)
    before = sorted(tmp_path.rglob("*"))
    url = f"{packed[:3]}://::{path}"
    found = {document.name.partition(":")[0]: document for document in documents(Source(kind="text", path=url))}
    assert found["good.txt"].text == "good" and found["../../escaped.txt"].text == "upwards"
    assert found["/absolute.txt"].fault == "damaged file"
    assert all("root:" not in (document.text or "") for document in found.values())
    assert sorted(tmp_path.rglob("*")) == before
    assert not os.path.exists("/absolute.txt")


def test_a_damaged_archive_is_refused_and_a_damaged_member_is_skipped(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.txt", f"{number} " * 1000)
    whole = bytearray(path.read_bytes())
    damaged = whole.copy()
    damaged[60:80] = b"\xff" * 20  # where the second member begins
    path.write_bytes(damaged)
    found = list(documents(Source(kind="text", path=f"zip://::{path}")))
    assert [document.fault for document in found] == ["", "damaged file", ""]
    path.write_bytes(whole[:-10])
    with pytest.raises(DataError, match=r"a\.zip: a damaged or truncated archive \(File is not a zip file\)"):
        texts("text", f"zip://::{path}")


def test_a_url_that_leads_nowhere_is_named(memory):
    with pytest.raises(DataError, match=r"memory://nowhere is neither a file nor a folder; mend Source\.path"):
        texts("text", "memory://nowhere")
    with pytest.raises(DataError, match=r"nonsense://x: cannot be read \(ValueError: Protocol not known"):
        texts("text", "nonsense://x")


def test_a_missing_package_is_named(monkeypatch, memory):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DataError, match=r"memory://x: needs the package fsspec: pip install 'scaling-lab\[data\]'"):
        texts("text", "memory://x")


def test_a_network_that_fails_is_an_error_and_no_skipped_document(memory, monkeypatch):
    memory.pipe("/bucket/a.txt", b"one\n" * 1000)

    class Torn(io.BytesIO):
        def read(self, size=-1):
            raise TimeoutError("no answer")

    monkeypatch.setattr(memory, "open", lambda *arguments: Torn())
    with pytest.raises(DataError, match=r"memory://bucket, a\.txt: cannot be read \(TimeoutError: no answer\)"):
        texts("text", "memory://bucket")


def test_a_pattern_chooses_files_at_any_depth(tmp_path):
    for name in ("README.md", "a/README.md", "a/b/notes.txt", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"in {name}")
    assert list(texts("folder", tmp_path, pattern="*README.md")) == ["README.md", "a/README.md"]
    assert list(texts("folder", tmp_path, pattern="a/*.txt")) == ["a/b/notes.txt"]
    assert [name.rpartition(":")[0] for name in texts("text", tmp_path, pattern="*.md")] == ["README.md", "a/README.md"]


def test_pipes_links_to_nowhere_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "zeros.txt").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "real.txt").write_text("real")
    (tmp_path / "linked.txt").symlink_to(tmp_path / "real.txt")
    assert texts("folder", tmp_path) == {"linked.txt": "real", "real.txt": "real"}
    with pytest.raises(DataError, match="neither a file nor a folder"):
        texts("folder", tmp_path / "pipe.txt")


def test_a_name_that_is_not_utf8_is_written_with_backslashes(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("coffee")
    assert texts("folder", tmp_path) == {r"caf\udce9.txt": "coffee"}
    fingerprint(Source(kind="folder", path=str(tmp_path)))


def test_a_disk_that_fails_is_an_error_and_no_skipped_document(tmp_path, monkeypatch):
    class Torn(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a.txt.gz").write_bytes(b"")
    monkeypatch.setattr(places, "_open_local", lambda path: io.BufferedReader(Torn()))
    with pytest.raises(DataError, match=r"a\.txt\.gz: cannot be read \(Input/output error\); mend that, or Source"):
        texts("text", tmp_path)


def test_a_folder_that_may_not_be_listed_is_an_error(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.scandir", forbidden)
    with pytest.raises(DataError, match=r".*: cannot be listed \(Permission denied\)"):
        texts("text", tmp_path)


def test_a_file_that_vanishes_while_others_are_read_is_an_error(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    found = documents(Source(kind="folder", path=str(tmp_path)))
    next(found)
    (tmp_path / "b.txt").unlink()
    with pytest.raises(DataError, match=r"b\.txt: cannot be read \(No such file or directory\)"):
        next(found)
