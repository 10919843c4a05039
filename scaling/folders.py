"""What a lease needs of the place that it is taken in, and how a folder of this machine's file system gives it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scaling.disk import is_full, writing


class Folder(Protocol):
    """A place that holds small files by name. Two that are the same place are equal."""

    def names(self) -> list[str]:
        """Of its files; [] where there is no such place yet."""

    def read(self, name: str) -> bytes:
        """b"" for a file that is not there."""

    def create(self, name: str, data: bytes) -> None:
        """Raises FileExistsError where the file is there already: of two that create it, one does."""

    def rewrite(self, name: str, data: bytes) -> None:
        """Whoever reads meanwhile finds the old or the new."""

    def remove(self, name: str) -> None:
        """Of a file that is not there, nothing."""


@dataclass(frozen=True)
class LocalFolder:
    """On a file system of this machine, which others may share."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return b""

    def create(self, name: str, data: bytes) -> None:
        """A file that could not be written whole is none: it would keep out whoever has space."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
            except OSError:
                self.remove(name)
                raise

    def rewrite(self, name: str, data: bytes) -> None:
        """Whole at any moment; where there is no space for a second file, in the space that it has."""
        beside = self.path / f".{name}.{os.getpid()}"
        try:
            beside.write_bytes(data)
            os.replace(beside, self.path / name)
        except OSError as error:
            beside.unlink(missing_ok=True)
            if not is_full(error):
                raise
            with (self.path / name).open("r+b", buffering=0) as file:
                file.write(data)
                file.truncate()

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)
