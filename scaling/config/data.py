"""Where text comes from, how it becomes tokens, what is kept aside, and what is read how often."""

import math
from dataclasses import replace
from functools import cached_property
from typing import Literal

from scaling.config.cleaning import CleaningStep
from scaling.config.fields import frozen, require, require_positive, strict, unhashed
from scaling.config.worlds import CODE_POINTS, World


@strict
@frozen
class Source:
    """Where text comes from. None of it is hashed: `DataConfig.content` says what it is."""

    kind: Literal["stdlib", "packages", "folder", "text", "jsonl", "parquet", "html", "warc", "tfds", "world"] = (
        "stdlib"
    )
    path: str = ""  # file, folder, fsspec URL or TFDS name; empty for stdlib, packages and world
    pattern: str = ""  # of the files of a folder, such as *.txt.gz: `*` stands for slashes too; "": as is usual
    field: str = "text"  # field of JSONL, column of Parquet, feature of TFDS
    prompt_field: str = ""  # what stands before that text in a document, which is then its completion; "": nothing
    id_field: str = ""  # names a document; of two with one id the first is taken. "": its file and place name it
    url_field: str = ""  # where a document was found
    language_field: str = ""
    licence_field: str = ""
    most_bytes: int = 1 << 26  # of UTF-8, or of its HTML or JSON: a longer document is skipped
    world: World | None = None  # the law that text is drawn from

    def __post_init__(self) -> None:
        require(
            (self.kind in ("stdlib", "packages", "world")) == (self.path == ""),
            f"Source(kind={self.kind!r}, path={self.path!r})",
            "stdlib, packages and world take no path, every other kind needs one",
        )
        require(
            (self.kind == "world") == (self.world is not None),
            f"Source(kind={self.kind!r}, world={self.world})",
            "a world goes with the kind 'world', and that with a world",
        )
        require(
            not self.pattern or self.kind not in ("stdlib", "packages", "tfds", "world"),
            f"Source(kind={self.kind!r}, pattern={self.pattern!r})",
            "a pattern chooses files below a path that you give; leave it out",
        )
        optional = (self.prompt_field, self.id_field, self.url_field, self.language_field, self.licence_field)
        named = (self.field, *optional)
        require(
            self.kind in ("jsonl", "parquet", "tfds") or (self.field == "text" and not any(optional)),
            f"Source(kind={self.kind!r}) with fields {[name for name in named if name not in ('', 'text')]}",
            "only jsonl, parquet and tfds have fields; leave them out",
        )
        require(self.field != "", "Source.field=''", "name the field that holds the text")
        require_positive(self, "most_bytes")


COLUMNS = ("by_position", "loss_bearing", "se", "unique")  # what tables call other tokens and losses


@strict
@frozen
class Part:
    """One of the sources that a mixture is made of."""

    name: str  # a word of letters, digits and _: columns of tables are called by it
    source: Source = unhashed(Source())
    most_tokens: int | None = None  # of it so many tokens are ever read, sequences drawn at random; None: all
    most_epochs: float | None = unhashed(None)  # a run that needs more is refused; None: DataConfig.max_epochs

    def __post_init__(self) -> None:
        fits = self.name.isidentifier() and self.name not in COLUMNS
        require(fits, f"Part.name={self.name!r}", f"give a word of letters, digits and _, none of {', '.join(COLUMNS)}")
        require_positive(self, "most_tokens", "most_epochs")


@strict
@frozen
class Stage:
    """The end of a run, or a stretch before it, on other weights: such as annealing on the best text."""

    start: float  # share of the run's steps that come before it; one on the cooldown has 1 - schedule.decay_fraction
    weights: tuple[float, ...]  # as Mixture.weights

    def __post_init__(self) -> None:
        require(0 < self.start < 1, f"Stage.start={self.start}", "must lie between 0 and 1: the run begins on weights")

    def first_step(self, steps: int) -> int:
        """Of a run of so many steps, counted from 0; with start = 1 - decay_fraction, the cooldown's first."""
        return max(1, steps - max(1, round((1 - self.start) * steps)))


@strict
@frozen
class Mixture:
    """Several sources, and how much of each is read.

    A part's share of the sequences is its weight ** (1 / temperature) over the
    sum of those of all parts. A temperature above 1 brings the shares together,
    as multilingual models do with weights = () (Devlin et al. 2019, mBERT;
    Conneau et al. 2020, arXiv:1911.02116, section 3.1: exponent 0.3).
    """

    parts: tuple[Part, ...]
    weights: tuple[float, ...] = ()  # one a part, in their order, of any sum; (): the tokens of each that may be read
    temperature: float = 1.0  # of all weights, the stages' too
    stages: tuple[Stage, ...] = ()  # in order of their start; each lasts until the next
    target: tuple[float, ...] = ()  # shares of the parts' held-out losses in the run's loss, of any sum; (): equal

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        require(len(names) > 0, "Mixture.parts=()", "name at least one part")
        double = sorted({name for name in names if names.count(name) > 1})
        require(not double, f"Mixture.parts: {len(names)} parts, but the name {double[:1]} twice", "name each its own")
        for field in ("weights", "target"):
            if getattr(self, field):
                _check_weights(f"Mixture.{field}", getattr(self, field), names)
        for place, stage in enumerate(self.stages):
            _check_weights(f"Mixture.stages[{place}].weights", stage.weights, names)
        starts = [stage.start for stage in self.stages]
        require(
            starts == sorted(set(starts)), f"Mixture.stages start at {starts}", "give them in order, each another start"
        )
        require(
            0 < self.temperature < math.inf,
            f"Mixture.temperature={self.temperature}",
            "must be positive: 1 leaves the weights as they are, 2 takes their square roots",
        )


def _check_weights(where: str, weights: tuple[float, ...], names: list[str]) -> None:
    found = f"{where}={weights}"
    require(len(weights) == len(names), found, f"give {len(names)} numbers, one for each of {', '.join(names)}")
    require(all(0 <= weight < math.inf for weight in weights), found, "weights are finite and not negative")
    require(sum(weights) > 0, found, "at least one weight must be above 0")


@strict
@frozen
class DataConfig:
    """A tokenized corpus and how batches are drawn from it."""

    source: Source = unhashed(Source())
    content: str = ""  # SHA-256 of the documents and the split; "" until the data are prepared
    cleaning: tuple[CleaningStep, ...] = ()  # in their order, before the split and the tokenizer
    heldout: Source | None = unhashed(None)  # its validation split, uncleaned, in place of what cleaning left of ours
    tokenizer: Literal["bpe", "unigram", "bytes", "characters"] = "bpe"
    vocab: int = 512  # pieces, the end-of-document token and the 256 bytes included
    digits: Literal["joined", "single"] = "joined"  # may a piece hold several digits, or is each a token?
    spaces: Literal["runs", "single", "across"] = "runs"  # a run of spaces may be a piece; none; pieces of many words
    validation_fraction: float = 0.05  # of the documents, by hash of their name
    heldout_sequences: int = 256  # fixed set on which the final loss is measured; of a mixture, so many of each part
    specials: int = 0  # special tokens after the vocabulary's own, for the objectives that need them
    document_attention: bool = False  # tokens see only their own document
    packing: Literal["stream", "best_fit"] = "stream"  # documents one after another, or packed so that few are cut
    max_epochs: float = unhashed(1.0)  # a run that needs more passes over the data is refused
    most_tokens: int | None = None  # so many tokens are ever read, sequences drawn at random; None: all
    mixture: Mixture | None = None  # several sources in place of the one

    def __post_init__(self) -> None:
        self._check_parts()
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
        require(
            self.packing == "stream" or self.document_attention,
            f"DataConfig.packing={self.packing!r} with document_attention=False",
            "set document_attention=True: documents that are packed together have nothing to say to each other",
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

    def _check_parts(self) -> None:
        require_positive(self, "most_tokens")
        asked = [part.source.prompt_field for part in self.parts if part.source.prompt_field]
        require(
            not (self.cleaning and asked),
            f"DataConfig.cleaning beside Source.prompt_field={asked[:1]}",
            "leave one out: what a step leaves of a text does not say where its completion begins",
        )
        if self.mixture is not None:
            require(
                self.source == Source(), f"DataConfig.source={self.source} beside a mixture", "make it one of its parts"
            )
            require(
                self.most_tokens is None,
                f"DataConfig.most_tokens={self.most_tokens} beside a mixture",
                "give it to each of its parts",
            )
            require(
                self.heldout is None,
                f"DataConfig.heldout={self.heldout} beside a mixture",
                "leave it out: every part holds out its own text",
            )

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What is read: a single source is one part."""
        if self.mixture is not None:
            return self.mixture.parts
        return (Part(name="all", source=self.source, most_tokens=self.most_tokens),)

    @property
    def has_prompts(self) -> bool:
        """Whether documents are prompts and completions."""
        sources = [*(part.source for part in self.parts), *([self.heldout] if self.heldout else [])]
        return any(source.prompt_field for source in sources)

    @property
    def before_stages(self) -> "DataConfig":
        """What a run reads until the first stage of its mixture begins: the data of its trunk."""
        if self.mixture is None or not self.mixture.stages:
            return self
        return replace(self, mixture=replace(self.mixture, stages=()))

    @property
    def total_vocab(self) -> int:
        """The vocabulary of a model that reads these data: the tokenizer's tokens and the special ones."""
        return self.vocab + self.specials
