"""Cleaning steps that compare documents: with each other, or with evaluation sets."""

from typing import Literal

from scaling.config.fields import file_path, frozen, require, require_positive, strict, tag


@strict
@frozen
class ExactDuplicates:
    """Of documents with the same text the first one stays."""

    kind: Literal["exact_duplicates"] = tag("exact_duplicates")


@strict
@frozen
class DuplicateURLs:
    """Of documents found at the same address the first one stays; those without an address all stay.

    Addresses are compared in the normal form of RFC 3986, section 6.2.2 and 6.2.3, without scheme and fragment.
    """

    kind: Literal["duplicate_urls"] = tag("duplicate_urls")


@strict
@frozen
class DuplicateLines:
    """Lines that the corpus holds more often than allowed are cut; a document of which nothing is left is dropped.

    Lines are compared as paragraphs are in CCNet (Wenzek et al. 2020, arXiv:1911.00359): small letters, every digit
    0, without punctuation and accents. At least ten words: the line-wise deduplication tried for FineWeb (Penedo et
    al. 2024, arXiv:2406.17557).
    """

    kind: Literal["duplicate_lines"] = tag("duplicate_lines")
    least_words: int = 10  # shorter lines are left alone
    most: int = 1  # times, or documents, in which a line may be found
    count: Literal["times", "documents"] = "times"
    keep_first: bool = True  # of a line found too often, the first place stays

    def __post_init__(self) -> None:
        require_positive(self, "least_words", "most")


@strict
@frozen
class DuplicateParagraphs:
    """The same for paragraphs, parted by blank lines; by default of any length, as in CCNet."""

    kind: Literal["duplicate_paragraphs"] = tag("duplicate_paragraphs")
    least_words: int = 1
    most: int = 1
    count: Literal["times", "documents"] = "times"
    keep_first: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "least_words", "most")


@strict
@frozen
class NearDuplicates:
    """A document that resembles an earlier one is dropped, by MinHash in bands (Broder 1997; Leskovec et al. 2020).

    Two documents are compared if all rows of one of their bands agree, which happens to those of Jaccard
    similarity s with probability 1 - (1 - s^rows)^bands; the later one is dropped if the share of equal
    hashes is at least `threshold`. Words, bands and rows: FineWeb (arXiv:2406.17557, section 3.4), which
    aims at 75% similarity and drops without comparing; threshold=0 does that.
    """

    kind: Literal["near_duplicates"] = tag("near_duplicates")
    words: int = 5  # of a shingle
    bands: int = 14
    rows: int = 8  # hashes of a band
    threshold: float = 0.75  # estimated Jaccard similarity
    seed: int = 1

    def __post_init__(self) -> None:
        require_positive(self, "words", "bands", "rows")
        require(
            0 <= self.threshold <= 1, f"NearDuplicates.threshold={self.threshold}", "a similarity lies between 0 and 1"
        )
        require(0 <= self.seed < 1 << 64, f"NearDuplicates.seed={self.seed}", "must fit 64 bits, from 0 on")


@strict
@frozen
class DuplicateSubstrings:
    """Spans of at least `words` words that the corpus has had before are cut.

    Lee et al. 2022, arXiv:2107.06499, section 4.1. Words are compared in small letters and without
    punctuation; the paper counts 50 tokens of a tokenizer.
    """

    kind: Literal["duplicate_substrings"] = tag("duplicate_substrings")
    words: int = 50

    def __post_init__(self) -> None:
        require_positive(self, "words")


@strict
@frozen
class Decontaminate:
    """Text that overlaps with evaluation sets is cut, or its document dropped.

    Brown et al. 2020, arXiv:2005.14165, appendix C. An overlap is `words` words in a row, in small letters and
    without punctuation; what is found in more than `most_documents` documents is taken for a common phrase.
    With mode "cut" go the overlap and `margin` characters on either side; a piece of fewer than `least_piece`
    characters goes too, and so does a document left in more than `most_pieces` pieces.
    """

    kind: Literal["decontaminate"] = tag("decontaminate")
    paths: tuple[str, ...] = file_path(())  # evaluation sets: .jsonl, .parquet or .txt
    field: str = "text"  # of JSONL and Parquet
    words: int = 13
    mode: Literal["cut", "drop"] = "cut"
    most_documents: int = 10
    margin: int = 200  # characters
    least_piece: int = 200  # characters
    most_pieces: int = 10

    def __post_init__(self) -> None:
        require_positive(self, "words", "most_documents", "most_pieces")
        require(
            len(self.paths) > 0 and all(path.endswith((".jsonl", ".parquet", ".txt")) for path in self.paths),
            f"Decontaminate.paths={self.paths}",
            "name at least one evaluation set, each a file that ends in .jsonl, .parquet or .txt",
        )
        require(self.margin >= 0, f"Decontaminate.margin={self.margin}", "must not be negative")
        require(self.least_piece >= 0, f"Decontaminate.least_piece={self.least_piece}", "must not be negative")
