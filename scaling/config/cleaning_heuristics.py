"""Cleaning steps that look at one document at a time: published heuristics, language, private data."""

from typing import Literal

from scaling.config.fields import file_path, frozen, require, require_positive, strict, tag


def _require_share(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        require(0 <= value <= 1, f"{type(config).__name__}.{name}={value}", "must lie between 0 and 1")


@strict
@frozen
class GopherQuality:
    """Documents that are not prose are dropped (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1).

    A word is what stands between white space; a line has something other than white space in it.
    """

    kind: Literal["gopher_quality"] = tag("gopher_quality")
    least_words: int = 50
    most_words: int = 100_000
    least_mean_word: float = 3.0  # characters
    most_mean_word: float = 10.0
    most_symbols: float = 0.1  # of hash signs to words, and of ellipses to words
    most_bullet_lines: float = 0.9  # share of lines that begin with a bullet
    most_ellipsis_lines: float = 0.3  # share of lines that end in an ellipsis
    least_words_with_letter: float = 0.8  # share of words with at least one letter
    least_stop_words: int = 2  # different ones of: the, be, to, of, and, that, have, with

    def __post_init__(self) -> None:
        require_positive(self, "least_words", "most_words", "least_mean_word", "most_mean_word")
        _require_share(self, "most_bullet_lines", "most_ellipsis_lines", "least_words_with_letter")
        require(self.most_symbols >= 0, f"GopherQuality.most_symbols={self.most_symbols}", "must not be negative")
        require(
            0 <= self.least_stop_words <= 8,
            f"GopherQuality.least_stop_words={self.least_stop_words}",
            "there are 8 of them",
        )
        for least, most in (("least_words", "most_words"), ("least_mean_word", "most_mean_word")):
            require(
                getattr(self, least) <= getattr(self, most),
                f"GopherQuality.{least}={getattr(self, least)}",
                f"must not exceed {most}={getattr(self, most)}",
            )


@strict
@frozen
class GopherRepetition:
    """Documents that repeat themselves are dropped (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1, table A1).

    Shares that may not be exceeded. A duplicate is a line, paragraph or n-gram
    of words that stood before in the document.
    """

    kind: Literal["gopher_repetition"] = tag("gopher_repetition")
    duplicate_lines: float = 0.3  # of lines
    duplicate_paragraphs: float = 0.3
    duplicate_line_characters: float = 0.2  # of characters
    duplicate_paragraph_characters: float = 0.2
    top_ngrams: tuple[float, ...] = (0.2, 0.18, 0.16)  # of characters, in the most frequent 2-, 3-, 4-gram
    duplicate_ngrams: tuple[float, ...] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.1)  # of characters, in 5- to 10-grams

    def __post_init__(self) -> None:
        _require_share(
            self,
            "duplicate_lines",
            "duplicate_paragraphs",
            "duplicate_line_characters",
            "duplicate_paragraph_characters",
        )
        for name, count in (("top_ngrams", 3), ("duplicate_ngrams", 6)):
            shares = getattr(self, name)
            require(
                len(shares) == count and all(0 <= share <= 1 for share in shares),
                f"GopherRepetition.{name}={shares}",
                f"must be {count} shares between 0 and 1",
            )


@strict
@frozen
class C4:
    """Lines that are no sentences are cut; pages of few sentences, of code or of bad words are dropped.

    (Raffel et al. 2020, arXiv:1910.10683, section 2.2; the two least numbers are
    those of the released data set.)
    """

    kind: Literal["c4"] = tag("c4")
    least_line_words: int = 5
    terminal_punctuation: bool = True  # a line must end in . ! ? or a closing quotation mark
    least_sentences: int = 3
    braces: bool = False  # whether a document may hold a curly bracket
    bad_words: str = file_path()  # a file of words and phrases, one a line, that drop a document; "" for none

    def __post_init__(self) -> None:
        for name in ("least_line_words", "least_sentences"):
            require(getattr(self, name) >= 0, f"C4.{name}={getattr(self, name)}", "must not be negative")


@strict
@frozen
class Language:
    """Documents that are not surely enough in one of some languages are dropped (py3langid's model)."""

    kind: Literal["language"] = tag("language")
    keep: tuple[str, ...] = ("en",)  # ISO 639-1
    least_probability: float = 0.5
    characters: int = 1000  # of the document are read, in four pieces spread over it

    def __post_init__(self) -> None:
        require(bool(self.keep), "Language.keep=()", "name at least one language, such as 'en'")
        _require_share(self, "least_probability")
        require_positive(self, "characters")


@strict
@frozen
class PrivateData:
    """E-mail addresses, IP addresses of the public network and telephone numbers are replaced by their kind."""

    kind: Literal["private_data"] = tag("private_data")
    emails: bool = True
    ip_addresses: bool = True
    phones: bool = True

    def __post_init__(self) -> None:
        require(
            self.emails or self.ip_addresses or self.phones,
            "PrivateData(emails=False, ip_addresses=False, phones=False)",
            "masks nothing; leave the step out",
        )
