"""Files of a source: below a local folder, or wherever fsspec reaches. They are read as streams, never unpacked.

Of a folder only a sorted list of names is kept, so that millions of files fit.
"""

import bz2
import gzip
import io
import lzma
import os
import platform
import sysconfig
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from scaling.config import Source
from scaling.data.sources.document import DataError, Document, faulty

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
ENDINGS = {
    "folder": ("",),
    "html": (".html", ".htm", ".xhtml"),
    "jsonl": (".jsonl",),
    "parquet": (".parquet",),
    "text": (".txt",),
    "warc": (".warc", ".wet"),
}
BUFFER_BYTES = 1 << 18
# What readers of formats raise on damage, beside pyarrow, which raises ValueError and OSError too.
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)


@dataclass(frozen=True)
class File:
    """A file of a source. name: below the source's folder; where: for messages."""

    name: str
    where: str
    raw: Callable[[], BinaryIO]  # seekable, as it lies there

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """A stream of its content, decompressed if its name says that it is compressed."""
        with self.raw() as raw, _decompressed(raw, self.name) as stream:
            yield stream


@dataclass(frozen=True)
class Local:
    """Files below a folder of this machine."""

    root: str
    names: list[str]

    def files(self) -> Iterator[File]:
        for name in self.names:
            path = os.path.join(self.root, name)
            yield File(readable(name), readable(path), lambda path=path: _open_local(path))

    def stamp(self, name: str) -> list:
        """Size in bytes and time of change in nanoseconds."""
        stat = os.stat(os.path.join(self.root, name))
        return [stat.st_size, stat.st_mtime_ns]


@dataclass(frozen=True)
class Remote:
    """Files that fsspec reaches, inside archives too. root: "" or a path that ends with a slash."""

    filesystem: Any
    root: str
    names: list[str]
    where: str

    def files(self) -> Iterator[File]:
        for name in self.names:
            where = f"{self.where}, {readable(name)}"
            yield File(readable(name), where, lambda name=name, where=where: self._open(name, where))

    def stamp(self, name: str) -> list:
        """All that its file system tells of it: at least a size, mostly a time or a checksum."""
        info = said(self.where, lambda: self.filesystem.info(self.root + name))
        return [[key, str(value)] for key, value in sorted(info.items())]

    def _open(self, name: str, where: str) -> BinaryIO:
        from fsspec.archive import AbstractArchiveFileSystem

        archived = isinstance(self.filesystem, AbstractArchiveFileSystem)
        file = said(where, lambda: self.filesystem.open(self.root + name, "rb"), archived)
        return io.BufferedReader(_Stream(file, where, archived), BUFFER_BYTES)


def place(source: Source) -> Local | Remote:
    """The files of a source, sorted by name. Hidden ones are left out, and what is no file, such as a pipe."""
    if source.kind in ("stdlib", "packages"):
        root = sysconfig.get_paths()["stdlib" if source.kind == "stdlib" else "purelib"]
        without = ("site-packages", "dist-packages") if source.kind == "stdlib" else ()
        return Local(root, _below(root, lambda name: name.endswith(".py"), without))
    if source.kind == "tfds":
        # `name/config:version`: everything of that name, whichever version is taken
        root = str(tfds_folder() / source.path.split("/")[0].split(":")[0])
        return Local(root, _below(root, lambda name: True) if os.path.isdir(root) else [])
    if is_url(source.path):
        try:
            return said(source.path, lambda: _remote(source))
        except DAMAGE as error:
            raise DataError(f"{source.path}: a damaged or truncated archive ({error}); fetch it again") from error
    path = Path(source.path).expanduser()
    if path.is_file():
        return Local(str(path.parent), [path.name])
    if not path.is_dir():
        raise DataError(f"Source(kind={source.kind!r}): {path} is neither a file nor a folder; mend Source.path")
    return Local(str(path), _below(str(path), _chosen(source)))


def is_url(path: str) -> bool:
    """Whether fsspec opens a path, alone or chained, as in zip://::/texts.zip."""
    return "://" in path


def tfds_folder() -> Path:
    """Where TFDS keeps its data sets unless told otherwise."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def interpreter() -> str:
    return platform.python_version()


def readable(name: str) -> str:
    """A file's name as valid text. Of bytes that are not UTF-8 Python makes half characters; they are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def said(where: str, read: Callable[[], Any], archived: bool = False) -> Any:
    """What `read` gives. Whatever else fails than the format of a file is a DataError.

    A file that cannot be reached now may be there later, so it is refused, not
    skipped: a corpus must not depend on the network's mood. `archived` files
    lie in an archive, which has been reached: there it is the format.
    """
    try:
        return read()
    except (DataError, *DAMAGE):
        raise
    except ImportError as error:
        raise DataError(f"{where}: {error}; install the package that it names") from error
    except Exception as error:  # every file system has errors of its own
        if archived and (not isinstance(error, OSError) or isinstance(error, FileNotFoundError)):
            raise EOFError(f"{type(error).__name__}: {error}") from error
        raise DataError(f"{where}: cannot be read ({type(error).__name__}: {error}); mend Source.path") from error


def at_most(stream: Any, limit: int) -> bytes:
    """What a stream holds, read no further than one byte beyond the limit."""
    content = bytearray()
    # In pieces, because read(n) sets n bytes of memory aside however few there are.
    while len(content) <= limit and (piece := stream.read(min(BUFFER_BYTES, limit + 1 - len(content)))):
        content += piece
    return bytes(content)


def until_damage(file: File, found: Iterator[Document]) -> Iterator[Document]:
    """The documents of a file. Where damage ends them early, a last one says so."""
    import pyarrow as pa

    try:
        yield from found
    except (*DAMAGE, OSError, pa.ArrowException) as error:
        # The system's errors have numbers; those of pyarrow, gzip and bz2 about damaged files have none.
        if getattr(error, "errno", None) is not None:
            raise DataError(f"{file.where}: cannot be read ({error.strerror}); mend that, or Source.path") from error
        yield damaged(file, error)


def damaged(file: File, error: object) -> Document:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return faulty(file.name, "damaged file", f"{file.where}: damaged or truncated ({reason}); fetch it again")


def _chosen(source: Source) -> Callable[[str], bool]:
    if source.pattern:
        return lambda name: fnmatchcase(name, source.pattern)
    endings = ENDINGS[source.kind]
    if source.kind != "parquet":
        endings += tuple(ending + packed for ending in endings for packed in COMPRESSED)
    return lambda name: name.endswith(endings)


def _below(root: str, chosen: Callable[[str], bool], without: tuple[str, ...] = ()) -> list[str]:
    found, folders = [], [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    name = f"{folder}{entry.name}"
                    if _hidden(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders += [f"{name}/"] if entry.name not in without else []
                    elif chosen(name) and entry.is_file():
                        found.append(name)
        except OSError as error:
            raise DataError(f"{readable(os.path.join(root, folder))}: cannot be listed ({error.strerror})") from error
    # By text, not by path parts, so that the order is the same on every system.
    return sorted(found)


def _hidden(name: str) -> bool:
    return name.startswith(".") and name != ".."


def _remote(source: Source) -> Remote:
    try:
        import fsspec.core
    except ImportError:
        raise DataError(f"{source.path}: needs the package fsspec: pip install 'scaling-lab[data]'") from None
    filesystem, root = fsspec.core.url_to_fs(source.path)
    # On the web everything is a file, and a folder one whose address ends in a slash.
    if root and not source.path.endswith("/") and filesystem.isfile(root):
        folder, _, name = root.rpartition("/")
        return Remote(filesystem, f"{folder}/" if folder else "", [name], source.path)
    if root and not filesystem.isdir(root):
        raise DataError(f"Source(kind={source.kind!r}): {source.path} is neither a file nor a folder; mend Source.path")
    root, chosen = f"{root.rstrip('/')}/" if root.strip("/") else "", _chosen(source)
    names = (name.removeprefix(root) for name in filesystem.find(root))
    visible = (name for name in names if not any(_hidden(part) for part in name.split("/")))
    return Remote(filesystem, root, sorted(name for name in visible if chosen(name)), source.path)


def _open_local(path: str) -> BinaryIO:
    try:
        return open(path, "rb", BUFFER_BYTES)
    except OSError as error:
        raise DataError(f"{readable(path)}: cannot be read ({error.strerror}); mend that, or Source.path") from error


def _decompressed(raw: BinaryIO, name: str) -> BinaryIO:
    match os.path.splitext(name)[1]:
        case ".gz":
            return gzip.GzipFile(fileobj=raw)
        case ".bz2":
            return bz2.BZ2File(raw)
        case ".xz":
            return lzma.LZMAFile(raw)
        case ".zst":
            # zstandard's own reader takes a truncated file for a whole one.
            import pyarrow as pa

            return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"), BUFFER_BYTES)
    return raw


class _Stream(io.RawIOBase):
    """A file of fsspec whose errors name it."""

    def __init__(self, file: Any, where: str, archived: bool) -> None:
        self._file, self._where, self._archived = file, where, archived

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = said(self._where, lambda: self._file.read(len(buffer)), self._archived)
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return said(self._where, lambda: self._file.seek(offset, whence), self._archived)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
