"""`scaling data tokenizers`: train tokenizers on one corpus and compare them on its validation split."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

import tyro
from rich.table import Table

from launch.options import WhereOptions, console
from scaling.config import DataConfig, Source


@dataclass(frozen=True, kw_only=True)
class TokenizersOptions(WhereOptions):
    source: tyro.conf.OmitArgPrefixes[Source] = Source()
    validation_fraction: float = DataConfig.validation_fraction
    """Of the documents, by hash of their name: the part that is measured."""
    tokenizers: tuple[Literal["bpe", "unigram", "bytes"], ...] = ("bytes", "bpe", "unigram")
    """Each with every vocabulary; raw bytes once, with 257."""
    digits: Literal["joined", "single"] = "joined"
    """May a piece hold several digits, or is each a token?"""
    spaces: Literal["runs", "single", "across"] = "runs"
    """A run of spaces may be a piece; none may; pieces may hold several words."""
    vocabs: tuple[int, ...] = (512, 2048, 8192)
    """Tokens, the 256 bytes included."""
    sample_mb: float = 4.0
    """How much of the validation split is measured, in megabytes."""
    json: bool = False
    """Print JSON."""


def tokenizers(arguments: list[str]) -> None:
    """A row a tokenizer: how many bytes a token holds, tokens a word takes, and how much of the vocabulary is used."""
    options = tyro.cli(TokenizersOptions, args=arguments, prog="scaling data tokenizers", description=__doc__)
    data = DataConfig(
        source=options.source,
        validation_fraction=options.validation_fraction,
        digits=options.digits,
        spaces=options.spaces,
    )
    rows = [_measured(data, options) for data in variants(data, options.tokenizers, options.vocabs)]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        console.print(_table(rows))


def variants(data: DataConfig, kinds: tuple[str, ...], vocabs: tuple[int, ...]) -> list[DataConfig]:
    """`data` with every kind and vocabulary; raises ValueError where one cannot be, before any is trained."""
    found = []
    for kind in kinds:
        plain = {"digits": "joined", "spaces": "runs"} if kind == "bytes" else {}
        sizes = (257,) if kind == "bytes" else vocabs
        found += [replace(data, tokenizer=kind, vocab=vocab, **plain) for vocab in sizes]
    return found


def _measured(data: DataConfig, options: TokenizersOptions) -> dict:
    from scaling.data.corpus import in_order, read_corpus
    from scaling.data.fertility import fertility
    from scaling.data.prepare import prepare_tokenizer
    from scaling.data.tokenizer import load_tokenizer

    # Progress would stand between the lines of JSON.
    say = (lambda line: None) if options.json else console.print
    (corpus,), tokenizer = prepare_tokenizer(data, options.root, say)
    texts, size = [], 0
    for example in in_order(read_corpus(corpus)["validation"]):
        if size >= options.sample_mb * 1e6:
            break
        texts.append(example["text"].decode())
        size += len(example["text"])
    facts = {"tokenizer": data.tokenizer, "digits": data.digits, "spaces": data.spaces}
    return facts | asdict(fertility(load_tokenizer(tokenizer), texts)) | {"measured_bytes": size}


def _table(rows: list[dict]) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        caption="spelt: bytes that no piece covers; used: share of the vocabulary that occurs; "
        "half: the commonest tokens that make up half of all",
        caption_justify="left",
    )
    for column in ("tokenizer", "digits", "spaces"):
        table.add_column(column)
    for column in ("vocab", "bytes/token", "tokens/word", "spelt", "used", "half"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row["tokenizer"],
            row["digits"],
            row["spaces"],
            f"{row['vocab']:,}",
            f"{row['bytes_per_token']:.3f}",
            f"{row['tokens_per_word']:.2f}",
            f"{row['spelt_bytes']:.2%}",
            f"{row['used']:.1%}",
            f"{row['half']:,}",
        )
    return table
