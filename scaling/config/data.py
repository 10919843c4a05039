"""Where text comes from, how it becomes tokens, and what is kept aside."""

from typing import Literal

from scaling.config.cleaning import CleaningStep
from scaling.config.fields import frozen, require, strict, unhashed


@strict
@frozen
class Source:
    """Where text comes from. None of it is hashed: `DataConfig.content` says what it is."""

    kind: Literal["stdlib", "folder", "text", "jsonl", "parquet", "tfds"] = "stdlib"
    path: str = ""  # file or folder, or the TFDS name; empty for stdlib
    field: str = "text"  # field of JSONL, column of Parquet, feature of TFDS

    def __post_init__(self) -> None:
        require(
            (self.kind == "stdlib") == (self.path == ""),
            f"Source(kind={self.kind!r}, path={self.path!r})",
            "stdlib takes no path, every other kind needs one",
        )


@strict
@frozen
class DataConfig:
    """A tokenized corpus and how batches are drawn from it."""

    source: Source = unhashed(Source())
    content: str = ""  # SHA-256 of the documents and the split; "" until the data are prepared
    cleaning: tuple[CleaningStep, ...] = ()  # in their order, before the split and the tokenizer
    tokenizer: Literal["bpe", "unigram", "bytes"] = "bpe"
    vocab: int = 512  # pieces, the end-of-document token and the 256 bytes included
    digits: Literal["joined", "single"] = "joined"  # may a piece hold several digits, or is each a token?
    spaces: Literal["runs", "single", "across"] = "runs"  # a run of spaces may be a piece; none; pieces of many words
    validation_fraction: float = 0.05  # of the documents, by hash of their name
    heldout_sequences: int = 256  # fixed set on which the final loss is measured
    specials: int = 0  # special tokens after the vocabulary's own, for the objectives that need them
    document_attention: bool = False  # tokens see only their own document
    max_epochs: float = unhashed(1.0)  # a run that needs more passes over the data is refused

    def __post_init__(self) -> None:
        require(
            0 < self.validation_fraction < 1,
            f"DataConfig.validation_fraction={self.validation_fraction}",
            "must lie between 0 and 1",
        )
        require(
            self.heldout_sequences >= 2,
            f"DataConfig.heldout_sequences={self.heldout_sequences}",
            "a standard error needs at least 2",
        )
        require(self.specials >= 0, f"DataConfig.specials={self.specials}", "must not be negative")
        require(
            self.tokenizer != "bytes" or (self.digits, self.spaces) == ("joined", "runs"),
            f"DataConfig.digits={self.digits!r}, spaces={self.spaces!r} with tokenizer='bytes'",
            "bytes have no pieces to restrict; leave both out",
        )
        # 256 bytes, end of document, sentencepiece's unknown piece, and two pieces worth training.
        least = 260 if self.tokenizer != "bytes" else 257
        require(
            self.vocab >= least if self.tokenizer != "bytes" else self.vocab == least,
            f"DataConfig.vocab={self.vocab} with tokenizer={self.tokenizer!r}",
            f"must be {'exactly' if self.tokenizer == 'bytes' else 'at least'} {least}",
        )

    @property
    def total_vocab(self) -> int:
        """The vocabulary of a model that reads these data: the tokenizer's tokens and the special ones."""
        return self.vocab + self.specials
