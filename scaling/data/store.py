"""Tokens on disk: two memory-mapped arrays, where documents end, and a manifest.

A split is one stream: its documents in order, each followed by the
end-of-document token. Where documents begin with prompts, a third array says
where their completions begin.
"""

import json
import mmap
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ConfigDict, with_config

from scaling.config import from_dict
from scaling.data.sources import DataError
from scaling.data.sources.skips import Skipped, told

FORMAT = 1
MANIFEST = "manifest.json"  # written last: a folder without it is no store
SPLITS = ("train", "validation")

_frozen = dataclass(frozen=True, kw_only=True)
_strict = with_config(ConfigDict(extra="forbid"))


class StoreError(DataError):
    """A token store that cannot be trusted."""


@_strict
@_frozen
class Counts:
    """What a split holds."""

    documents: int
    tokens: int  # one end-of-document token per document included
    bytes: int  # of UTF-8 text


@_strict
@_frozen
class Cleaned:
    """What a step of cleaning was given and what it left."""

    kind: str
    documents: int
    documents_kept: int
    documents_changed: int
    bytes: int
    bytes_kept: int


@_strict
@_frozen
class PartCounts:
    """One of the sources that a store of a mixture holds, one after another in each split."""

    name: str
    source: str  # for people: where its documents came from
    content: str  # SHA-256 over its documents in order, their names and their split
    train: Counts
    validation: Counts
    cleaning: tuple[Cleaned, ...] = ()  # a step each


@_strict
@_frozen
class Manifest:
    """What a token store holds and what it was made of."""

    format: int = FORMAT
    content: str  # SHA-256 over the documents in order, their names and their split; over those of the parts
    source: str  # for people: where the documents came from
    tokenizer: str  # kind
    tokenizer_sha256: str
    vocab: int
    eod: int  # the end-of-document token
    dtype: str  # of the token files, little endian
    train: Counts
    validation: Counts
    skipped: dict[str, Skipped] = field(default_factory=dict)  # documents left out, by fault
    recipe: str = ""  # hash of the cleaning steps
    cleaning: tuple[Cleaned, ...] = ()  # a step each
    parts: tuple[PartCounts, ...] = ()  # of a mixture; their counts add up to those above
    prompts: bool = False  # whether documents of a source begin with prompts


class Encoded(NamedTuple):
    """A document to be stored."""

    tokens: np.ndarray
    bytes: int  # of UTF-8 text
    prompt: int = 0  # so many of the tokens, the first, are its prompt


@dataclass(frozen=True, eq=False)
class Store:
    """An open token store; the arrays are read from disk as they are used."""

    path: Path
    manifest: Manifest
    train: np.ndarray  # (tokens,) uint16 or uint32
    validation: np.ndarray
    train_ends: np.ndarray  # (documents,) int64: position after each document's last token
    validation_ends: np.ndarray
    piece_bytes: np.ndarray  # (vocab,) int32: UTF-8 bytes that each token stands for
    train_completions: np.ndarray | None = None  # (documents,) int64: position of the first token after each prompt
    validation_completions: np.ndarray | None = None

    def __str__(self) -> str:
        """What it holds, for people, a fact a line."""
        held = self.manifest
        splits = [
            f"{split + ':':12}{counts.tokens:,} tokens, {counts.documents:,} documents, {counts.bytes / 1e6:.1f} MB, "
            f"{counts.bytes / counts.tokens:.2f} bytes/token"
            for split, counts in (("train", held.train), ("validation", held.validation))
        ]
        tokenizer = f"{held.tokenizer}, vocabulary {held.vocab:,}, SHA-256 {held.tokenizer_sha256[:12]}"
        parts = [
            f"part:       {part.name}, {part.train.tokens:,} and {part.validation.tokens:,} tokens, of {part.source}"
            for part in held.parts
        ]
        return "\n".join(
            [
                f"source:     {held.source}",
                f"content:    {held.content}",
                f"tokenizer:  {tokenizer}",
                *splits,
                *parts,
                *(f"skipped:    {line}" for line in told(held.skipped) or ["nothing"]),
                f"folder:     {self.path}",
            ]
        )

    @property
    def tokenizer_folder(self) -> Path:
        """Where `load_tokenizer` finds the tokenizer."""
        return self.path.parent / "tokenizer"

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Map a store, or raise StoreError if it is not there, damaged or of another version."""
        manifest = read_manifest(path)
        arrays = {}
        for split in SPLITS:
            counts = getattr(manifest, split)
            arrays[split] = _mapped(path / f"{split}.bin", np.dtype(manifest.dtype), counts.tokens)
            arrays[f"{split}_ends"] = _mapped(path / f"{split}.ends", np.dtype("<i8"), counts.documents)
            if manifest.prompts:
                file = path / f"{split}.completions"
                arrays[f"{split}_completions"] = _mapped(file, np.dtype("<i8"), counts.documents)
        piece_bytes = _mapped(path / "pieces.bytes", np.dtype("<i4"), manifest.vocab)
        return cls(path=path, manifest=manifest, piece_bytes=piece_bytes, **arrays)


def ask_for(stream: np.ndarray, starts: np.ndarray, lengths: np.ndarray | int) -> None:
    """Tell the system that these stretches of a split are read next, so that a slow disk brings all of them at once.

    Else each is waited for alone, with much that the system reads around it.
    Nothing happens for what is in memory already, or where a system cannot be told.
    """
    memory = stream
    while not isinstance(memory, mmap.mmap):
        memory = getattr(memory, "base", None)
        if memory is None:
            return
    if not hasattr(mmap, "MADV_WILLNEED") or len(memory) != stream.nbytes:
        return
    begins = np.asarray(starts) * stream.itemsize
    pages = begins // mmap.PAGESIZE * mmap.PAGESIZE
    sizes = begins + np.asarray(lengths) * stream.itemsize - pages
    with suppress(OSError):  # a file system that takes no hints is read without them
        for page, size in zip(pages.tolist(), sizes.tolist(), strict=True):
            memory.madvise(mmap.MADV_WILLNEED, page, size)


def token_dtype(vocab: int) -> np.dtype:
    """The smallest integer type that holds every token."""
    # Batches are int32, so larger tokens could be stored but never used.
    if vocab > 2**31:
        raise DataError(f"DataConfig.vocab={vocab}: tokens are 32-bit integers; choose at most {2**31}")
    return np.dtype("<u2" if vocab <= 2**16 else "<u4")


def write_split(
    folder: Path, split: str, documents: Iterable[Encoded], *, vocab: int, eod: int, prompts: bool = False
) -> Counts:
    """Write one split's tokens and document ends; with `prompts`, where completions begin too.

    Raises DataError for a token outside the vocabulary.
    """
    dtype, ends, completions, tokens, size = token_dtype(vocab), [], [], 0, 0
    with (folder / f"{split}.bin").open("wb", buffering=1 << 20) as file:
        for document, document_bytes, prompt in documents:
            if document.size and not 0 <= document.min() <= document.max() < vocab:
                raise DataError(
                    f"{folder}: document {len(ends)} of {split} holds tokens {document.min()} to {document.max()}, "
                    f"outside the vocabulary of {vocab}; the tokenizer and DataConfig.vocab must agree"
                )
            file.write(np.append(document, eod).astype(dtype).tobytes())
            completions.append(tokens + prompt)
            tokens, size = tokens + document.size + 1, size + document_bytes
            ends.append(tokens)
    (folder / f"{split}.ends").write_bytes(np.array(ends, "<i8").tobytes())
    if prompts:
        (folder / f"{split}.completions").write_bytes(np.array(completions, "<i8").tobytes())
    return Counts(documents=len(ends), tokens=tokens, bytes=size)


def tokens_of_parts(folder: Path, split: str, documents: list[int]) -> list[int]:
    """Of a written split, the tokens of its first so many documents, of the next so many, ..."""
    ends = np.concatenate([[0], np.fromfile(folder / f"{split}.ends", "<i8")])
    return np.diff(ends[np.cumsum([0, *documents])]).astype(int).tolist()


def write_manifest(folder: Path, manifest: Manifest, piece_bytes: np.ndarray) -> None:
    """The last step of a store: from here on `Store.open` accepts the folder."""
    (folder / "pieces.bytes").write_bytes(piece_bytes.astype("<i4").tobytes())
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")


def read_manifest(path: Path) -> Manifest:
    """The manifest of the store in folder `path`."""
    file = path / MANIFEST
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path}: no token store here; run `scaling data prepare`") from None
    except ValueError as error:
        raise StoreError(f"{file}: not whole JSON ({error}); {_again(path)}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else values
        raise StoreError(f"{file}: format {found!r}, but this version reads format {FORMAT}; {_again(path)}")
    if isinstance(values.get("skipped"), int):  # written when there was one fault only
        names = values.pop("skipped_names", [])
        values["skipped"] = {"not UTF-8": {"documents": values["skipped"], "names": names}} if names else {}
    try:
        return from_dict(Manifest, values, str(file))
    except ValueError as error:
        raise StoreError(f"{error}; {_again(path)}") from None


def _mapped(file: Path, dtype: np.dtype, length: int) -> np.ndarray:
    expected = length * dtype.itemsize
    size = file.stat().st_size if file.exists() else 0
    if size != expected:
        raise StoreError(f"{file}: truncated or changed, {size} bytes instead of {expected}; {_again(file.parent)}")
    if length == 0:  # nothing to map
        return np.zeros(0, dtype)
    # A plain array: indexing a memmap object is slower, and the map lives as long as the array.
    return np.memmap(file, dtype, mode="r").view(np.ndarray)


def _again(path: Path) -> str:
    return f"delete {path} and run `scaling data prepare`"
