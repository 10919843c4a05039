"""Worlds with known answers: text drawn from a law, so that the least loss, and more, is known exactly.

A world is a source (`Source(kind="world", world=...)`). Its documents follow
from these fields alone, each from its number; `scaling.data.worlds` makes them.
"""

from typing import Annotated, Literal

from scaling.config.fields import ToldApartByKind, frozen, require, require_positive, strict, tag

FIRST_CONTEXT = 0x100  # code point of a Zipf world's first context; its answers are small letters
CODE_POINTS = 0xD800  # a text may hold all below: from here on some belong to no text


@strict
@frozen
class ZipfWorld:
    """Facts, a context and its answer: contexts are drawn by Zipf's law, p_k ~ k^-(1 + alpha) (Hutter 2021,
    arXiv:2102.04074; Michaud et al. 2023, arXiv:2303.13506).

    A context is a character of its own, an answer a small letter. The excess
    loss of a table of contexts falls as D^-beta with beta = alpha / (1 + alpha).
    """

    kind: Literal["zipf"] = tag("zipf")
    seed: int = 0  # draws the answers of the contexts, their characters, and the documents
    documents: int = 1000
    facts: int = 1000  # a document, on average: their number is geometric, so that the text is a Markov chain
    contexts: int = 40_000
    alpha: float = 1.0
    answers: int = 8
    noise: float = 0.1  # chance that an answer is any of them, drawn evenly
    characters: Literal["shuffled", "by_rank"] = "shuffled"  # of the contexts; by rank the commonest has the first

    def __post_init__(self) -> None:
        require_positive(self, "documents", "contexts", "alpha")
        require(self.facts >= 2, f"ZipfWorld.facts={self.facts}", "must be 2 or more: not every document ends at once")
        most = CODE_POINTS - FIRST_CONTEXT
        require(self.contexts <= most, f"ZipfWorld.contexts={self.contexts}", f"there are characters for {most}")
        require(1 <= self.answers <= 26, f"ZipfWorld.answers={self.answers}", "must lie between 1 and 26, the letters")
        require(0 <= self.noise <= 1, f"ZipfWorld.noise={self.noise}", "must lie between 0 and 1")

    @property
    def beta(self) -> float:
        """Exponent with which a table's excess loss falls with the data."""
        return self.alpha / (1 + self.alpha)

    @property
    def code_points(self) -> int:
        """The characters of its text lie below: what `DataConfig.vocab` must hold with tokenizer='characters'."""
        return FIRST_CONTEXT + self.contexts


@strict
@frozen
class HierarchyWorld:
    """Sentences of a random context-free grammar: the random hierarchy model (Cagnetta et al. 2024,
    arXiv:2307.02129, section 1).

    A sentence is a symbol, replaced `depth` times by one of its `rules` strings
    of `branching` symbols of the next level. No string of a level belongs to two
    symbols, so every sentence has one derivation.
    """

    kind: Literal["hierarchy"] = tag("hierarchy")
    seed: int = 0  # draws the grammar and the documents
    documents: int = 1000
    sentences: int = 100  # a document
    symbols: int = 8  # of each level, the characters included: the paper's v
    rules: int = 4  # of a symbol, equally likely: the paper's m
    branching: int = 2  # symbols that a rule gives: the paper's s
    depth: int = 3  # levels of rules: the paper's L

    def __post_init__(self) -> None:
        require_positive(self, "documents", "sentences", "symbols", "rules", "depth")
        require(self.branching >= 2, f"HierarchyWorld.branching={self.branching}", "must be 2 or more")
        require(self.symbols <= 26, f"HierarchyWorld.symbols={self.symbols}", "must be at most 26, the letters")
        require(
            self.rules * self.symbols <= self.symbols**self.branching,
            f"HierarchyWorld: {self.rules} rules for each of {self.symbols} symbols",
            f"there are only {self.symbols**self.branching} strings of {self.branching} symbols; take fewer rules",
        )


@strict
@frozen
class CopyingWorld:
    """Lines such as `cab>cab`: a random string, and the same again. The longer, the harder."""

    kind: Literal["copying"] = tag("copying")
    seed: int = 0
    documents: int = 1000
    lines: int = 100  # a document
    length: int = 8  # of the string
    symbols: int = 8  # letters that it is made of

    def __post_init__(self) -> None:
        require_positive(self, "documents", "lines", "length")
        require(1 <= self.symbols <= 26, f"CopyingWorld.symbols={self.symbols}", "must lie between 1 and 26")


@strict
@frozen
class RetrievalWorld:
    """Lines such as `A3C1B3?C1`: pairs of a key and a value, a key among them, and its value. More pairs are harder."""

    kind: Literal["retrieval"] = tag("retrieval")
    seed: int = 0
    documents: int = 1000
    lines: int = 100  # a document
    pairs: int = 4  # of a line, their keys all different
    keys: int = 16  # capital letters
    values: int = 10  # digits

    def __post_init__(self) -> None:
        require_positive(self, "documents", "lines", "pairs")
        require(1 <= self.keys <= 26, f"RetrievalWorld.keys={self.keys}", "must lie between 1 and 26, the letters")
        require(1 <= self.values <= 10, f"RetrievalWorld.values={self.values}", "must lie between 1 and 10, the digits")
        require(
            self.pairs <= self.keys,
            f"RetrievalWorld.pairs={self.pairs}",
            f"a line has no key twice, and there are {self.keys} keys",
        )


@strict
@frozen
class ArithmeticWorld:
    """Lines such as `12+93=105`: the sum of two numbers of so many decimal digits, leading zeros kept."""

    kind: Literal["arithmetic"] = tag("arithmetic")
    seed: int = 0
    documents: int = 1000
    lines: int = 100  # a document
    digits: int = 2  # of a summand; the sum has one more

    def __post_init__(self) -> None:
        require_positive(self, "documents", "lines", "digits")
        require(self.digits <= 15, f"ArithmeticWorld.digits={self.digits}", "must be at most 15")


World = Annotated[
    ArithmeticWorld | CopyingWorld | HierarchyWorld | RetrievalWorld | ZipfWorld,
    ToldApartByKind(""),
]
