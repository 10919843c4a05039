"""Where text comes from, how it becomes tokens, and what is kept aside."""

from typing import Literal

from scaling.config.cleaning import CleaningStep
from scaling.config.fields import frozen, require, strict, unhashed
from scaling.config.worlds import CODE_POINTS, World


@strict
@frozen
class Source:
    """Where text comes from. None of it is hashed: `DataConfig.content` says what it is."""

    kind: Literal["stdlib", "folder", "text", "jsonl", "parquet", "tfds", "world"] = "stdlib"
    path: str = ""  # file or folder, or the TFDS name; empty for stdlib and world
    field: str = "text"  # field of JSONL, column of Parquet, feature of TFDS
    world: World | None = None  # the law that text is drawn from

    def __post_init__(self) -> None:
        require(
            (self.kind in ("stdlib", "world")) == (self.path == ""),
            f"Source(kind={self.kind!r}, path={self.path!r})",
            "stdlib and world take no path, every other kind needs one",
        )
        require(
            (self.kind == "world") == (self.world is not None),
            f"Source(kind={self.kind!r}, world={self.world})",
            "a world goes with the kind 'world', and that with a world",
        )


@strict
@frozen
class DataConfig:
    """A tokenized corpus and how batches are drawn from it."""

    source: Source = unhashed(Source())
    content: str = ""  # SHA-256 of the documents and the split; "" until the data are prepared
    cleaning: tuple[CleaningStep, ...] = ()  # in their order, before the split and the tokenizer
    tokenizer: Literal["bpe", "unigram", "bytes", "characters"] = "bpe"
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
            self.tokenizer in ("bpe", "unigram") or (self.digits, self.spaces) == ("joined", "runs"),
            f"DataConfig.digits={self.digits!r}, spaces={self.spaces!r} with tokenizer={self.tokenizer!r}",
            f"{self.tokenizer} have no pieces to restrict; leave both out",
        )
        if self.tokenizer == "characters":
            require(
                257 < self.vocab <= 257 + CODE_POINTS,
                f"DataConfig.vocab={self.vocab} with tokenizer='characters'",
                f"must be 257, for the bytes and the end of a document, and 1 to {CODE_POINTS} code points",
            )
        # 256 bytes, end of document, sentencepiece's unknown piece, and two pieces worth training.
        least = {"bytes": 257, "characters": 258}.get(self.tokenizer, 260)
        require(
            self.vocab >= least if self.tokenizer != "bytes" else self.vocab == least,
            f"DataConfig.vocab={self.vocab} with tokenizer={self.tokenizer!r}",
            f"must be {'exactly' if self.tokenizer == 'bytes' else 'at least'} {least}",
        )

    @property
    def total_vocab(self) -> int:
        """The vocabulary of a model that reads these data: the tokenizer's tokens and the special ones."""
        return self.vocab + self.specials
