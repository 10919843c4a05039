"""A folder at a URL, on an object store or a file system, as far as a mirror of runs needs it.

A store has no renames and no appends: a file is put whole, and seen whole or
not at all. What a lease needs beside that is a put that fails where the key
is there already. That S3, Google's store, memory and this machine's file
systems have; another store is refused.
"""

import os
import re
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

EXCLUSIVE = ("file", "gcs", "gs", "local", "memory", "s3", "s3a")  # protocols that can put where nothing is
AT_ONCE_BYTES = 1 << 26  # a file up to this is put by one call; of a larger one fsspec sends parts

_PART = re.compile(r"\..*\.\d+\.\d+\.part")  # a file of a folder's that is being written
_memory = threading.Lock()  # fsspec's memory looks, then writes
_T = TypeVar("_T")


class BucketError(OSError):
    """A store did not do what it was asked; the message is its own."""


@dataclass(frozen=True)
class Bucket:
    """A folder of a store. Equal to another of the same URL."""

    url: str  # without a slash at its end
    _files: Any = field(compare=False, repr=False)  # fsspec's file system
    _path: str = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "Bucket":
        return Bucket(f"{self.url}/{name}", self._files, f"{self._path}/{name}")

    def names(self) -> list[str]:
        """Of its files and folders."""
        try:
            found = (path.rstrip("/").rpartition("/")[2] for path in self._ask(self._files.ls, detail=False))
            return [name for name in found if not _PART.fullmatch(name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes(self) -> dict[str, int]:
        """Bytes of every file below it, by its path from here."""
        try:
            found = self._ask(self._files.find, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._path.rstrip("/")) + 1
        sizes = {path[start:]: known["size"] for path, known in found.items() if len(path) > start}
        return {name: size for name, size in sizes.items() if not _PART.fullmatch(name.rpartition("/")[2])}

    def read(self, name: str) -> bytes:
        """b"" for a file that is not there."""
        try:
            return self._ask(self._files.cat_file, name)
        except FileNotFoundError:
            return b""

    def create(self, name: str, data: bytes) -> None:
        """Raises FileExistsError where it is there: of two that create it, one does."""
        if self._local is not None:
            return _linked(self._local / name, data)
        try:
            if self._protocol == "memory":
                with _memory:
                    return self._ask(self._files.pipe_file, name, data, mode="create")
            self._ask(self._files.pipe_file, name, data, mode="create")
        except FileExistsError:
            raise
        except OSError:  # not every store of S3's kind says why it refused
            if self.read(name) not in (b"", data):
                raise FileExistsError(f"{self.url}/{name}") from None
            raise

    def rewrite(self, name: str, data: bytes) -> None:
        if self._local is not None:
            return _replaced(self._local / name, lambda beside: beside.write_bytes(data))
        self._ask(self._files.pipe_file, name, data)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._ask(self._files.rm_file, name)

    def upload(self, path: Path, name: str) -> None:
        if self._local is not None:
            return _replaced(self._local / name, lambda beside: shutil.copyfile(path, beside))
        if path.stat().st_size <= AT_ONCE_BYTES:
            return self.rewrite(name, path.read_bytes())
        self._ask(lambda there: self._files.put_file(str(path), there), name)

    def download(self, name: str, path: Path) -> None:
        """Raises FileNotFoundError where it is not there (any more)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _replaced(path, lambda beside: self._ask(lambda there: self._files.get_file(there, str(beside)), name))

    @property
    def _protocol(self) -> str:
        return self.url.partition("://")[0]

    @property
    def _local(self) -> Path | None:
        """Of a store that is a folder of this machine: fsspec would write over a file that others read."""
        return Path(self._path) if self._protocol in ("file", "local") else None

    def _ask(self, call: Callable[..., _T], name: str = "", *arguments: Any, **options: Any) -> _T:
        """Whatever a store's client raises is an OSError of the URL's."""
        try:
            return call(f"{self._path}/{name}".rstrip("/"), *arguments, **options)
        except (FileNotFoundError, FileExistsError, NotADirectoryError):
            raise
        except Exception as error:  # every client has errors of its own
            raise BucketError(f"{self.url}/{name}: {type(error).__name__}: {error}") from error


def bucket_of(url: str) -> Bucket:
    """The folder at a URL. Raises ValueError for a store that leases cannot be kept on, or whose client is not here."""
    try:
        import fsspec
    except ImportError:
        raise ValueError("--store needs fsspec: pip install 'scaling-lab[data]'") from None
    if "://" not in url:
        raise ValueError(f"--store {url!r}: give a URL, such as s3://bucket/folder, gs://bucket/folder or file:///disk")
    if url.partition("://")[0] not in EXCLUSIVE:
        raise ValueError(
            f"--store {url}: whether this store can put a file only where none is, as leases need, is not known; "
            f"those that can: {', '.join(EXCLUSIVE)}"
        )
    try:
        files, path = fsspec.core.url_to_fs(url, use_listings_cache=False)  # others write there too
    except ImportError as error:
        raise ValueError(f"--store {url}: {error}") from None
    return Bucket(url.rstrip("/"), files, path.rstrip("/"))


def _linked(path: Path, data: bytes) -> None:
    """A link fails where its name is taken, and appears with all its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    beside.write_bytes(data)
    try:
        os.link(beside, path)
    finally:
        beside.unlink()


def _replaced(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        write(beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
