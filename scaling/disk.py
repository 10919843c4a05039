"""Files that are whole or not there; full and read-only disks: errors that say where, and what to do about it.

The system's error for a full disk names no file, and libraries in C++ raise
errors of their own that only hold its text.
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


class DiskFull(OSError):
    """Nothing more can be written; the message says where. It is no fault of what was being done."""


def is_full(error: BaseException) -> bool:
    """Whether a full disk, or a quota that is used up, is behind an error of any kind."""
    return getattr(error, "errno", None) in FULL or any(os.strerror(number) in str(error) for number in FULL)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever is written within is for this file or folder: an error of the disk names it."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskFull):
            raise
        if is_full(error):
            raise DiskFull(
                f"{path.absolute()}: {os.strerror(error.errno)}. Free some space and give the same command again: "
                "what was written before is kept, and it goes on from there"
            ) from error
        if error.errno in REFUSED:
            raise OSError(
                f"{path.absolute()}: cannot be written ({os.strerror(error.errno)}). Make its folder writable for this "
                "user, or write elsewhere (--root; a report's --out); status, watch, fit and compare only read"
            ) from error
        raise


def check_writable(folder: Path) -> None:
    """Make a folder and try to write there; raises OSError, naming it, before work is spent on what cannot be kept."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    check_can_make(folder)


def check_can_make(folder: Path) -> None:
    """The same of a folder that need not be there yet, and is not made."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    with writing(folder):
        tempfile.TemporaryFile(dir=there).close()


def write_atomic(path: Path, text: str) -> None:
    """Write a file that is either whole or not there, even after a crash; an error of the disk names it."""
    with writing(path):
        _write_beside(path, text)


def _write_beside(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes it private; others may read runs on a shared disk
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's umask; it can only be read by setting it."""
    current = os.umask(0o077)
    os.umask(current)
    return current
