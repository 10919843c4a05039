"""Cleaning as named steps in order: what is dropped, cut or masked before text becomes tokens.

Every step is a field of the run, so that a sweep can ask what it does to a law.
"""

from typing import Annotated, Literal

from scaling.config.cleaning_duplicates import (
    Decontaminate,
    DuplicateLines,
    DuplicateParagraphs,
    DuplicateSubstrings,
    DuplicateURLs,
    ExactDuplicates,
    NearDuplicates,
)
from scaling.config.cleaning_heuristics import C4, GopherQuality, GopherRepetition, Language, PrivateData
from scaling.config.cleaning_quality import Perplexity, QualityClassifier
from scaling.config.fields import ToldApartByKind, frozen, require, require_positive, strict, tag


@strict
@frozen
class Lengths:
    """Documents of too few or too many words are dropped (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1)."""

    kind: Literal["lengths"] = tag("lengths")
    least_words: int = 50
    most_words: int = 100_000

    def __post_init__(self) -> None:
        require_positive(self, "least_words", "most_words")
        require(
            self.least_words <= self.most_words,
            f"Lengths.least_words={self.least_words}",
            f"must not exceed most_words={self.most_words}",
        )


# One a line and by name, so that changes of two people meet rarely.
CleaningStep = Annotated[
    C4
    | Decontaminate
    | DuplicateLines
    | DuplicateParagraphs
    | DuplicateSubstrings
    | DuplicateURLs
    | ExactDuplicates
    | GopherQuality
    | GopherRepetition
    | Language
    | Lengths
    | NearDuplicates
    | Perplexity
    | PrivateData
    | QualityClassifier,
    ToldApartByKind(""),
]
