"""From a `DataConfig` to an open token store, in stages that are each done once.

`scaling.data.homes` says where each stage lies. A stage is built in a hidden
folder beside its own and renamed when it is whole, so that a folder that exists
is complete. One process prepares a data set at a time; another waits for it and
then finds the work done.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.config import DataConfig
from scaling.data.homes import (
    corpus_of,
    find_store,
    folder_of,
    heldout_of,
    home_of,
    parts_of,
    tokenizer_of,
    tokens_of,
    variant,
)
from scaling.data.sources import DataError, Document, documents
from scaling.data.sources.skips import told
from scaling.data.store import Store, read_manifest, token_dtype
from scaling.disk import is_full, writing
from scaling.lease import held, holder

if TYPE_CHECKING:
    from scaling.data.cleaning.account import Account
    from scaling.data.cleaning.parallel import MapShards
    from scaling.data.encode import Texts

Report = Callable[[str], None]
Walk = Callable[[], Iterator[Document]]

FULL = "no space left on the device; free some, or prepare below another folder"


def prepare(data: DataConfig, root: Path, report: Report = print) -> Store:
    """The token store of `data`, built below `root`/datasets unless it is there already.

    report: told every step in one line. Raises DataError for a source that is
    missing, empty or without the named field, for a full disk, and when
    `data.content` is set but neither found nor what the source holds now.
    """
    found = find_store(data, root)
    if found is not None:
        return Store.open(found)
    token_dtype(data.vocab)
    _collect_heldout(data, root, report)
    with _lock(folder_of(data, root), report):
        _build(data, root, report)
    return Store.open(tokens_of(data, root))


def prepare_tokenizer(data: DataConfig, root: Path, report: Report = print) -> tuple[list[Path], Path]:
    """The folders of the corpora of `data`, of a mixture one a part, and of its tokenizer; built if missing."""
    token_dtype(data.vocab)
    _collect_heldout(data, root, report)
    with _lock(folder_of(data, root), report):
        texts = _build_tokenizer(data, root, report)
    return list(texts.corpora.values()), tokenizer_of(data, root)


def clean(data: DataConfig, root: Path, report: Report, map_shards: "MapShards") -> Path:
    """The folder of the cleaned documents of `data` and of the account of their cleaning, made where it is missing."""
    if data.mixture is not None:
        raise DataError("the parts of a mixture are cleaned each by itself; give the source of one of them")
    with _lock(folder_of(data, root), report):
        _clean(data, root, report, map_shards)
    return folder_of(data, root)


def cleaned(data: DataConfig, root: Path) -> Path:
    """The folder of the cleaned documents of `data`; raises DataError if they are not clean yet."""
    from scaling.data.cleaning.account import read_account

    read_account(folder_of(data, root))
    return folder_of(data, root)


def _clean(data: DataConfig, root: Path, report: Report, map_shards: "MapShards") -> "Account":
    """Cleaning goes on where it stopped; who calls this holds the folder of its result."""
    from scaling.data.cleaning.engine import clean
    from scaling.data.cleaning.stage import cut

    home, folder = home_of(data, root), folder_of(data, root)
    try:
        with _lock(home, report):
            source = cut(data.source, home, report)
        return clean(source, data.cleaning, folder, report, map_shards)
    except OSError as error:
        if is_full(error):
            raise DataError(f"{folder}: {FULL}. What is whole is kept") from error
        raise


def pinned(data: DataConfig, root: Path) -> DataConfig | None:
    """`data` with its content set if it is prepared below `root`, else None; reads no text."""
    found = find_store(data, root)
    return None if found is None else replace(data, content=read_manifest(found).content)


def _lock(folder: Path, report: Report) -> AbstractContextManager:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if holder(folder) is not None:
        report(f"another process is preparing {folder.name}; waiting for it")
    return held(folder)


def _build(data: DataConfig, root: Path, report: Report) -> None:
    # Imported here, as below: TFDS and grain take 2 s, and a prepared data set needs neither.
    from scaling.data.encode import write_store

    texts = _build_tokenizer(data, root, report)
    _stage(tokens_of(data, root), lambda part: write_store(part, data, texts, tokenizer_of(data, root), report))


def _build_tokenizer(data: DataConfig, root: Path, report: Report) -> "Texts":
    """The corpora and the tokenizer, and what was read; who calls this holds the folder of `data`."""
    from scaling.data.encode import Texts

    corpora = {}
    for name, part in parts_of(data).items():
        corpora[name] = corpus_of(part, root)
        with _lock(folder_of(part, root), report) if data.mixture else nullcontext():
            _collect(part, root, report)
    other = heldout_of(data)
    texts = Texts(corpora=corpora, heldout=None if other is None else corpus_of(other, root))
    if data.content not in ("", texts.content):
        raise DataError(
            f"{folder_of(data, root)}: the documents have content {texts.content[:12]}, but the run was planned on "
            f"{data.content[:12]}; restore the documents, or plan again with DataConfig.content=''"
        )
    _stage(tokenizer_of(data, root), lambda part: _train(data, texts, part, report))
    return texts


def _collect(data: DataConfig, root: Path, report: Report) -> None:
    """The corpus of one source, and, where it is new, what it holds."""
    from scaling.data.corpus import build_corpus, read_summary

    corpus = corpus_of(data, root)
    if corpus.exists():
        return
    walk, where = _documents(data, root, report)
    prompts = bool(data.source.prompt_field)
    _stage(corpus, lambda part: build_corpus(part, walk, data.validation_fraction, report, where, prompts))
    summary = read_summary(corpus)
    counts = ", ".join(f"{count} for {split}" for split, count in summary.documents.items())
    report(f"corpus {corpus.parent.name}: documents {counts}; {sum(summary.bytes.values()) / 1e6:.1f} MB")
    for line in told(summary.skipped):
        report(f"skipped {line}")


def _collect_heldout(data: DataConfig, root: Path, report: Report) -> None:
    """Before the folder of `data` is held: two that hold out each other's source would wait for each other."""
    if (other := heldout_of(data)) is not None:
        with _lock(folder_of(other, root), report):
            _collect(other, root, report)


def _documents(data: DataConfig, root: Path, report: Report) -> tuple[Walk, str]:
    """A walk over the documents that the corpus is made of, and what they are called."""
    where = f"Source(kind={data.source.kind!r}, path={data.source.path!r})"
    if not data.cleaning:
        return partial(documents, data.source), where
    from scaling.data.cleaning.account import ACCOUNT, lines
    from scaling.data.cleaning.parallel import in_processes
    from scaling.data.cleaning.stage import walk_over

    with in_processes() as map_shards:
        account = _clean(data, root, report, map_shards)
    for line in lines(account):
        report(line)
    folder = folder_of(data, root)
    return walk_over(folder, account), f"{where}, cleaned as {folder / ACCOUNT} says"


def _stage(target: Path, build: Callable[[Path], object]) -> None:
    """Build a folder whole or not at all; one that exists is left as it is."""
    if target.exists():
        return
    part = target.with_name(f".{target.name}.partial")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir(parents=True)
    try:
        build(part)
        part.rename(target)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if is_full(error):
            raise DataError(f"{target}: {FULL}. Nothing half-written was left behind") from error
        raise


def _train(data: DataConfig, texts: "Texts", part: Path, report: Report) -> None:
    from scaling.data.sample import evenly, shuffled_texts
    from scaling.data.tokenizer import SAMPLE_BYTES, save_tokenizer, train_tokenizer

    report(f"training the tokenizer {variant(data)}")
    sample = evenly([shuffled_texts(corpus) for corpus in texts.corpora.values()], SAMPLE_BYTES.get(data.tokenizer, 0))
    save_tokenizer(train_tokenizer(sample, data.tokenizer, data.vocab, data.digits, data.spaces), part)
