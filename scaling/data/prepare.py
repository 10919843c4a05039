"""From a `DataConfig` to an open token store, in stages that are each done once.

    datasets/<name>-<key>/corpus/                  documents, as a TFDS data set
                          bpe-512/tokenizer/       learned from the train split
                          bpe-512/tokens/          the store
                          cleaned-<recipe>/        corpus and stores of what cleaning leaves

Held-out text of another source (`DataConfig.heldout`) is the validation split of
that source's own corpus, and the variant's folder is called by it. Documents of
the same text are left out of the training split.

A mixture's parts each have such a folder with their corpus, shared with
whoever reads that source alone; the mixture's own has the other two stages, the
same for all weights.

A stage is built in a hidden folder beside its own and renamed when it is
whole, so that a folder that exists is complete. One process prepares a data
set at a time; another waits for it and then finds the work done.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.config import DataConfig, Source
from scaling.data.cleaning.recipe import folder_key, recipe
from scaling.data.sources import DataError, Document, documents, fingerprint, readable_name
from scaling.data.sources.skips import of_all, told
from scaling.data.store import (
    FORMAT,
    MANIFEST,
    SPLITS,
    Cleaned,
    Counts,
    Manifest,
    PartCounts,
    Store,
    StoreError,
    read_manifest,
    token_dtype,
    tokens_of_parts,
    write_manifest,
    write_split,
)
from scaling.disk import is_full, writing
from scaling.lease import held, holder

if TYPE_CHECKING:
    from scaling.data.cleaning.account import Account
    from scaling.data.cleaning.parallel import MapShards

Report = Callable[[str], None]
Walk = Callable[[], Iterator[Document]]

HELDOUT = "heldout_"  # in the name of a folder, before a key of the source
FULL = "no space left on the device; free some, or prepare below another folder"


def prepare(data: DataConfig, root: Path, report: Report = print) -> Store:
    """The token store of `data`, built below `root`/datasets unless it is there already.

    report: told every step in one line. Raises DataError for a source that is
    missing, empty or without the named field, for a full disk, and when
    `data.content` is set but neither found nor what the source holds now.
    """
    found = _find(data, root)
    if found is not None:
        return Store.open(found)
    token_dtype(data.vocab)
    folder = _folder(data, root)
    _collect_heldout(data, root, report)
    with _lock(folder, report):
        _build(data, root, report)
    return Store.open(_tokens(data, folder))


def prepare_tokenizer(data: DataConfig, root: Path, report: Report = print) -> tuple[list[Path], Path]:
    """The folders of the corpora of `data`, of a mixture one a part, and of its tokenizer; built if missing."""
    token_dtype(data.vocab)
    _collect_heldout(data, root, report)
    with _lock(_folder(data, root), report):
        corpora, tokenizer = _build_tokenizer(data, root, report)
    return list(corpora.values()), tokenizer


def clean(data: DataConfig, root: Path, report: Report, map_shards: "MapShards") -> Path:
    """The folder of the cleaned documents of `data` and of the account of their cleaning, made where it is missing."""
    if data.mixture is not None:
        raise DataError("the parts of a mixture are cleaned each by itself; give the source of one of them")
    with _lock(_folder(data, root), report):
        _clean(data, root, report, map_shards)
    return _folder(data, root)


def cleaned(data: DataConfig, root: Path) -> Path:
    """The folder of the cleaned documents of `data`; raises DataError if they are not clean yet."""
    from scaling.data.cleaning.account import read_account

    read_account(_folder(data, root))
    return _folder(data, root)


def _clean(data: DataConfig, root: Path, report: Report, map_shards: "MapShards") -> "Account":
    """Cleaning goes on where it stopped; who calls this holds the folder of its result."""
    from scaling.data.cleaning.engine import clean
    from scaling.data.cleaning.stage import cut

    home, folder = _home(data, root), _folder(data, root)
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
    found = _find(data, root)
    return None if found is None else replace(data, content=read_manifest(found).content)


def _find(data: DataConfig, root: Path) -> Path | None:
    """The store of `data` if it exists.

    With `content` set, any store of that content serves, so that a run can be
    resumed after its source has changed or gone.
    """
    if not data.content:
        path = _tokens(data, _folder(data, root))
        return path if (path / MANIFEST).exists() else None
    homes = ("*", "*/cleaned-*") if data.cleaning else ("*",)  # the first: where it was fetched from a bucket
    ends = ("", f"-{HELDOUT}*") if data.heldout else ("",)
    places = [f"{home}/{_learned(data)}{end}/tokens/{MANIFEST}" for home in homes for end in ends]
    found = [path for place in places for path in (root / "datasets").glob(place)]
    stores = [path.parent for path in sorted(found)]
    return next((store for store in stores if _holds(store, data)), None)


def _holds(store: Path, data: DataConfig) -> bool:
    try:
        found = read_manifest(store)
        return (found.content, found.recipe) == (data.content, recipe(data.cleaning))
    except StoreError:  # of another data set or version: it is not the one that is looked for
        return False


def _folder(data: DataConfig, root: Path) -> Path:
    """Where the corpus and its stores lie."""
    home = _home(data, root)
    return home / f"cleaned-{folder_key(data.cleaning)}" if data.cleaning else home


def _home(data: DataConfig, root: Path) -> Path:
    """Where everything that is made of a source, or of the same sources, lies."""
    if data.mixture is None:
        facts, name = [FORMAT, fingerprint(data.source), data.validation_fraction], readable_name(data.source)
    else:
        homes = {name: _home(part, root).name for name, part in _parts(data).items()}
        facts, name = [FORMAT, list(homes.items())], "-".join(homes)[:40]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return root / "datasets" / f"{name}-{key[:12]}"


def _parts(data: DataConfig) -> dict[str, DataConfig]:
    """What is read, each part as data of its own; a single source is one part without a name."""
    if data.mixture is None:
        return {"": data}
    return {part.name: replace(data, source=part.source, mixture=None, content="") for part in data.mixture.parts}


def _variant(data: DataConfig) -> str:
    """The folder of a tokenizer and its tokens."""
    if data.heldout is None:
        return _learned(data)
    return f"{_learned(data)}-{HELDOUT}{fingerprint(data.heldout)[:12]}"


def _learned(data: DataConfig) -> str:
    """The tokenizer and its policies."""
    changed = [f"{name}_{value}" for name, value, default in _policies(data) if value != default]
    return "-".join([data.tokenizer, str(data.vocab), *changed])


def _policies(data: DataConfig) -> list[tuple[str, str, str]]:
    return [("digits", data.digits, DataConfig.digits), ("spaces", data.spaces, DataConfig.spaces)]


def _tokens(data: DataConfig, folder: Path) -> Path:
    return folder / _variant(data) / "tokens"


def _lock(folder: Path, report: Report) -> AbstractContextManager:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if holder(folder) is not None:
        report(f"another process is preparing {folder.name}; waiting for it")
    return held(folder)


def _build(data: DataConfig, root: Path, report: Report) -> None:
    corpora, tokenizer = _build_tokenizer(data, root, report)
    heldout, content = _heldout_corpus(data, root), _content(data, root, corpora)
    _stage(
        _tokens(data, _folder(data, root)),
        lambda part: _tokenize(data, corpora, heldout, content, tokenizer, part, report),
    )


def _build_tokenizer(data: DataConfig, root: Path, report: Report) -> tuple[dict[str, Path], Path]:
    """The folders of the corpora, by part, and of the tokenizer; who calls this holds the folder of `data`."""
    folder, corpora = _folder(data, root), {}
    for name, part in _parts(data).items():
        corpora[name] = _folder(part, root) / "corpus"
        with _lock(_folder(part, root), report) if data.mixture else nullcontext():
            _collect(part, root, report)
    found = _content(data, root, corpora)
    if data.content not in ("", found):
        raise DataError(
            f"{folder}: the documents have content {found[:12]}, but the run was planned on "
            f"{data.content[:12]}; restore the documents, or plan again with DataConfig.content=''"
        )
    tokenizer = folder / _variant(data) / "tokenizer"
    _stage(tokenizer, lambda part: _train(data, corpora, part, report))
    return corpora, tokenizer


def _collect(data: DataConfig, root: Path, report: Report) -> None:
    """The corpus of one source, and, where it is new, what it holds."""
    # Imported here: TFDS and grain take 2 s, and a prepared data set needs neither.
    from scaling.data.corpus import build_corpus, read_summary

    corpus = _folder(data, root) / "corpus"
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


def _heldout(data: DataConfig) -> DataConfig | None:
    """What the held-out text is the validation split of, where that is another source."""
    return None if data.heldout is None else replace(data, source=data.heldout, heldout=None, cleaning=(), content="")


def _heldout_corpus(data: DataConfig, root: Path) -> Path | None:
    other = _heldout(data)
    return None if other is None else _folder(other, root) / "corpus"


def _collect_heldout(data: DataConfig, root: Path, report: Report) -> None:
    """Before the folder of `data` is held: two that hold out each other's source would wait for each other."""
    if (other := _heldout(data)) is not None:
        with _lock(_folder(other, root), report):
            _collect(other, root, report)


def _content(data: DataConfig, root: Path, corpora: dict[str, Path]) -> str:
    """What identifies the documents; of a mixture, those of all parts by name; those of another held-out text too."""
    from scaling.data.corpus import read_summary

    contents = {name: read_summary(corpus).content for name, corpus in corpora.items()}
    if (heldout := _heldout_corpus(data, root)) is not None:
        contents["held out"] = read_summary(heldout).content
    if list(contents) == [""]:
        return contents[""]
    return hashlib.sha256(json.dumps(list(contents.items())).encode()).hexdigest()


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
    folder = _folder(data, root)
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


def _train(data: DataConfig, corpora: dict[str, Path], part: Path, report: Report) -> None:
    from scaling.data.sample import evenly, shuffled_texts
    from scaling.data.tokenizer import SAMPLE_BYTES, save_tokenizer, train_tokenizer

    report(f"training the tokenizer {_variant(data)}")
    texts = evenly([shuffled_texts(corpus) for corpus in corpora.values()], SAMPLE_BYTES.get(data.tokenizer, 0))
    save_tokenizer(train_tokenizer(texts, data.tokenizer, data.vocab, data.digits, data.spaces), part)


def _tokenize(
    data: DataConfig,
    corpora: dict[str, Path],
    heldout: Path | None,
    content: str,
    learned: Path,
    part: Path,
    report: Report,
) -> None:
    from scaling.data.corpus import read_summary
    from scaling.data.encode import encoded, examples
    from scaling.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(learned)
    summaries = {name: read_summary(corpus) for name, corpus in corpora.items()}
    counts, of_parts = {}, {name: {} for name in corpora}
    sources = [*(part.source for part in data.parts), *([data.heldout] if data.heldout else [])]
    prompts = any(source.prompt_field for source in sources)
    for split in SPLITS:
        texts = examples(split, list(corpora.values()), heldout)
        size = sum(summary.bytes[split] for summary in summaries.values())
        tokens = encoded(tokenizer, texts, split, size, report)
        counts[split] = write_split(part, split, tokens, vocab=tokenizer.vocab, eod=tokenizer.eod, prompts=prompts)
        report(f"tokens for {split}: {counts[split].tokens:,} in {counts[split].documents:,} documents")
        if data.mixture is None:
            continue
        documents = [summary.documents[split] for summary in summaries.values()]
        for name, count, tokens in zip(corpora, documents, tokens_of_parts(part, split, documents), strict=True):
            of_parts[name][split] = Counts(documents=count, tokens=tokens, bytes=summaries[name].bytes[split])
    said = {name: _said(of.source) for name, of in _parts(data).items()}
    named = [f"{name}: {source}" if name else source for name, source in said.items()]
    cleaning = {name: _cleaning(data, corpus.parent) for name, corpus in corpora.items()}
    manifest = Manifest(
        content=content,
        source="; ".join([*named, *([f"held out: {_said(data.heldout)}"] if data.heldout else [])]),
        tokenizer=data.tokenizer,
        tokenizer_sha256=tokenizer.sha256,
        vocab=tokenizer.vocab,
        eod=tokenizer.eod,
        dtype=token_dtype(tokenizer.vocab).str,
        skipped=of_all({name: summary.skipped for name, summary in summaries.items()}),
        recipe=recipe(data.cleaning),
        cleaning=cleaning.get("", ()),
        parts=tuple(
            PartCounts(
                name=name, source=said[name], content=summaries[name].content, cleaning=cleaning[name], **of_part
            )
            for name, of_part in of_parts.items()
            if name
        ),
        prompts=prompts,
        **counts,
    )
    write_manifest(part, manifest, tokenizer.piece_bytes)


def _said(source: Source) -> str:
    return f"{source.kind} {source.path}".strip()


def _cleaning(data: DataConfig, folder: Path) -> tuple[Cleaned, ...]:
    """What the manifest says of the cleaning of the documents in `folder`."""
    if not data.cleaning:
        return ()
    from scaling.data.cleaning.account import read_account, sums

    return sums(read_account(folder))
