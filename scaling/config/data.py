"""Where text comes from, how it becomes tokens, and what is kept aside."""

from typing import Literal

from scaling.config.cleaning import CleaningStep
from scaling.config.fields import frozen, require, require_positive, strict, unhashed


@strict
@frozen
class Source:
    """Where text comes from. None of it is hashed: `DataConfig.content` says what it is."""

    kind: Literal["stdlib", "packages", "folder", "text", "jsonl", "parquet", "html", "warc", "tfds"] = "stdlib"
    path: str = ""  # file, folder, fsspec URL or TFDS name; empty for stdlib and packages
    pattern: str = ""  # of the files of a folder, such as *.txt.gz: `*` stands for slashes too; "": as is usual
    field: str = "text"  # field of JSONL, column of Parquet, feature of TFDS
    id_field: str = ""  # names a document; of two with one id the first is taken. "": its file and place name it
    url_field: str = ""  # where a document was found
    language_field: str = ""
    licence_field: str = ""
    most_bytes: int = 1 << 26  # of UTF-8, or of its HTML or JSON: a longer document is skipped

    def __post_init__(self) -> None:
        require(
            (self.kind in ("stdlib", "packages")) == (self.path == ""),
            f"Source(kind={self.kind!r}, path={self.path!r})",
            "stdlib and packages take no path, every other kind needs one",
        )
        require(
            not self.pattern or self.kind not in ("stdlib", "packages", "tfds"),
            f"Source(kind={self.kind!r}, pattern={self.pattern!r})",
            "a pattern chooses files below a path that you give; leave it out",
        )
        named = (self.field, self.id_field, self.url_field, self.language_field, self.licence_field)
        require(
            self.kind in ("jsonl", "parquet", "tfds") or named == ("text", "", "", "", ""),
            f"Source(kind={self.kind!r}) with fields {[name for name in named if name not in ('', 'text')]}",
            "only jsonl, parquet and tfds have fields; leave them out",
        )
        require(self.field != "", "Source.field=''", "name the field that holds the text")
        require_positive(self, "most_bytes")


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
