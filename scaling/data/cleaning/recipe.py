"""What makes two recipes the same: their steps and the content of the files that these read."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from scaling.config import Source
from scaling.config.cleaning import CleaningStep
from scaling.config.identity import hashed_payload
from scaling.data.sources import DataError, documents

FORMAT = 1  # of the shards and the account


def recipe(steps: Sequence[CleaningStep]) -> str:
    """A short hash of the steps; "" where there are none."""
    return _digest([hashed_payload(step) for step in steps]) if steps else ""


def folder_key(steps: Sequence[CleaningStep]) -> str:
    """A short hash of the steps and of what they read. Raises DataError where a file is missing."""
    return _digest([FORMAT, *([hashed_payload(step), _read_by(step)] for step in steps)])


def _read_by(step: CleaningStep) -> dict[str, str | list[str]]:
    """SHA-256 of the files and folders that a step's fields name (`scaling.config.fields.file_path`)."""
    named = {f.name: getattr(step, f.name) for f in fields(step) if f.metadata.get("file")}
    return {name: _of_files(f"{type(step).__name__}.{name}", paths) for name, paths in named.items() if paths}


def _of_files(field: str, paths: str | Sequence[str]) -> str | list[str]:
    return _sha256(field, paths) if isinstance(paths, str) else [_sha256(field, path) for path in paths]


def _sha256(field: str, path: str) -> str:
    if Path(path).expanduser().is_dir():
        return _sha256_of_folder(path)
    try:
        with Path(path).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{field}={path!r}: cannot be read ({error.strerror}); mend the path") from None


def _sha256_of_folder(path: str) -> str:
    """Of its texts and their names; files that are no text change nothing."""
    digest = hashlib.sha256()
    for document in documents(Source(kind="folder", path=path)):
        if document.text is not None:
            digest.update(hashlib.sha256(document.name.encode()).digest())
            digest.update(hashlib.sha256(document.text.encode()).digest())
    return digest.hexdigest()


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
