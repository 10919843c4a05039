"""Real small disks, full ones and read-only ones. Root alone may mount them; elsewhere such tests are skipped."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a disk of its own cannot be mounted here: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator["Disk"]:
    """A file system in memory of so many megabytes."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={round(megabytes * 1024)}k", "tmpfs", str(folder))
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder as it is, but nobody may write there, not even root."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Disk:
    """A small disk that can be filled and freed."""

    def __init__(self, folder: Path):
        self.folder, self._filler = folder, folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Take all space but `leave` bytes (whole pages of 4096)."""
        with self._filler.open("ab", buffering=0) as file:
            with suppress(OSError):  # the disk is full, which is the point
                while file.write(bytes(4096)) == 4096:
                    pass
            file.truncate(max(0, file.tell() - leave))

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)
