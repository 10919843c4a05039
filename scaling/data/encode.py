"""The documents of corpora as tokens: a store of them, split by split."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from scaling.config import DataConfig, Source
from scaling.data.cleaning.account import read_account, sums
from scaling.data.cleaning.recipe import recipe
from scaling.data.corpus import PROMPT, Summary, in_order, read_corpus, read_summary
from scaling.data.homes import parts_of
from scaling.data.sources.skips import of_all
from scaling.data.store import (
    SPLITS,
    Cleaned,
    Counts,
    Encoded,
    Manifest,
    PartCounts,
    token_dtype,
    tokens_of_parts,
    write_manifest,
    write_split,
)
from scaling.data.tokenizer import Tokenizer, load_tokenizer

CHUNK_BYTES = 1 << 22  # of text encoded at once: enough for threads, little memory
REPORT_SECONDS = 2.0

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The corpora that a store is made of."""

    corpora: dict[str, Path]  # folders by part, of a single source one without a name
    heldout: Path | None  # a corpus whose validation split takes the place of theirs

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        return {name: read_summary(corpus) for name, corpus in self.corpora.items()}

    @cached_property
    def content(self) -> str:
        """What identifies the documents: of a mixture, of all parts by name; those of other held-out text too."""
        contents = {name: summary.content for name, summary in self.summaries.items()}
        if self.heldout is not None:
            contents["held out"] = read_summary(self.heldout).content
        if list(contents) == [""]:
            return contents[""]
        return hashlib.sha256(json.dumps(list(contents.items())).encode()).hexdigest()

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        """The documents of a split, corpus after corpus.

        What has the text of one of the documents of `heldout` is left out of
        the training split.
        """
        if self.heldout is None:
            for corpus in self.corpora.values():
                yield from in_order(read_corpus(corpus)[split])
            return
        held = read_corpus(self.heldout)["validation"]
        if split == "validation":
            yield from in_order(held)
            return
        known = {example["sha256"] for example in in_order(held)}
        for corpus in self.corpora.values():
            yield from (example for example in in_order(read_corpus(corpus)[split]) if example["sha256"] not in known)


def write_store(folder: Path, data: DataConfig, texts: Texts, learned: Path, report: Report) -> None:
    """The token store of `data` in `folder`. learned: the folder of its tokenizer."""
    tokenizer, prompts = load_tokenizer(learned), data.has_prompts
    counts = {split: _write_split(folder, split, texts, tokenizer, prompts, report) for split in SPLITS}
    manifest = Manifest(
        content=texts.content,
        source="; ".join([*_sources(data), *([f"held out: {_said(data.heldout)}"] if data.heldout else [])]),
        tokenizer=data.tokenizer,
        tokenizer_sha256=tokenizer.sha256,
        vocab=tokenizer.vocab,
        eod=tokenizer.eod,
        dtype=token_dtype(tokenizer.vocab).str,
        skipped=of_all({name: summary.skipped for name, summary in texts.summaries.items()}),
        recipe=recipe(data.cleaning),
        cleaning=() if data.mixture else _cleaning(data, texts.corpora[""]),
        parts=_parts(folder, data, texts) if data.mixture else (),
        prompts=prompts,
        **counts,
    )
    write_manifest(folder, manifest, tokenizer.piece_bytes)


def _write_split(folder: Path, split: str, texts: Texts, tokenizer: Tokenizer, prompts: bool, report: Report) -> Counts:
    size = sum(summary.bytes[split] for summary in texts.summaries.values())
    tokens = encoded(tokenizer, texts.examples(split), split, size, report)
    counts = write_split(folder, split, tokens, vocab=tokenizer.vocab, eod=tokenizer.eod, prompts=prompts)
    report(f"tokens for {split}: {counts.tokens:,} in {counts.documents:,} documents")
    return counts


def _parts(folder: Path, data: DataConfig, texts: Texts) -> tuple[PartCounts, ...]:
    """What each part of a mixture holds of the splits that are written in `folder`."""
    summaries, counts = texts.summaries, {name: {} for name in texts.corpora}
    for split in SPLITS:
        documents = [summary.documents[split] for summary in summaries.values()]
        tokens = tokens_of_parts(folder, split, documents)
        for (name, summary), size, count in zip(summaries.items(), tokens, documents, strict=True):
            counts[name][split] = Counts(documents=count, tokens=size, bytes=summary.bytes[split])
    return tuple(
        PartCounts(
            name=name,
            source=_said(of.source),
            content=summaries[name].content,
            cleaning=_cleaning(data, texts.corpora[name]),
            **counts[name],
        )
        for name, of in parts_of(data).items()
    )


def _sources(data: DataConfig) -> list[str]:
    said = {name: _said(of.source) for name, of in parts_of(data).items()}
    return [f"{name}: {source}" if name else source for name, source in said.items()]


def _said(source: Source) -> str:
    return f"{source.kind} {source.path}".strip()


def _cleaning(data: DataConfig, corpus: Path) -> tuple[Cleaned, ...]:
    """What the manifest says of the cleaning of the documents of a corpus."""
    return sums(read_account(corpus.parent)) if data.cleaning else ()


def encoded(
    tokenizer: Tokenizer, texts: Iterator[dict[str, Any]], split: str, total: int, report: Report
) -> Iterator[Encoded]:
    """Every document as tokens; checks that not a byte was lost. total: bytes of all, about.

    No token holds both the end of a prompt and the beginning of its completion.
    """
    piece_bytes, threads = tokenizer.piece_bytes, os.cpu_count() or 1
    started = shown = time.monotonic()
    done = 0
    for chunk in _chunks(texts):
        texts, lengths = [example["text"].decode() for example in chunk], [example.get(PROMPT, 0) for example in chunk]
        prompts = [text[:length] for text, length in zip(texts, lengths, strict=True)]
        rests = tokenizer.encode([text[length:] for text, length in zip(texts, lengths, strict=True)], threads)
        begins = tokenizer.encode(prompts, threads) if any(prompts) else [rests[0][:0]] * len(chunk)
        for example, begin, rest in zip(chunk, begins, rests, strict=True):
            document, size = np.concatenate([begin, rest]) if len(begin) else rest, len(example["text"])
            assert piece_bytes[document].sum() == size
            yield Encoded(document, size, len(begin))
            done += size
        if (now := time.monotonic()) - shown > REPORT_SECONDS:
            shown = now
            left = (now - started) * (total - done) / done
            report(f"tokenizing {split}: {done / total:.0%} of {total / 1e6:.0f} MB, {left:.0f} s left")


def _chunks(texts: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    held, size = [], 0
    for example in texts:
        held.append(example)
        size += len(example["text"])
        if size >= CHUNK_BYTES:
            yield held
            held, size = [], 0
    yield held
