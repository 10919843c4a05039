"""Cleaning steps that judge a document by a model learned from text."""

from typing import Literal

from scaling.config.fields import file_path, frozen, require, require_positive, strict, tag


@strict
@frozen
class QualityClassifier:
    """Documents that look more like random ones of the corpus than like a positive set are dropped.

    A logistic regression on words parts the positive set, such as pages that
    Wikipedia cites, from documents of the corpus drawn at random (Touvron et
    al. 2023, arXiv:2302.13971, section 2.1: what is not taken for a reference
    is discarded, here at `least_score`). With `keep`, the best share stays.
    With `pareto` a document stays by chance, if a draw from Pareto's law of
    that exponent, counted from 0, is above 1 - score (Brown et al. 2020,
    arXiv:2005.14165, appendix A: 9), so that some poor ones are left. Two
    models learn from half of the documents each, told apart by hash of their
    text, and judge the other half: no document is judged by a model that has
    learned it.
    """

    kind: Literal["quality_classifier"] = tag("quality_classifier")
    positive: tuple[str, ...] = file_path(())  # .jsonl, .parquet or text files, or folders of text files
    field: str = "text"  # of JSONL and Parquet
    keep: float | None = None  # share of the documents
    pareto: float | None = None
    least_score: float = 0.5  # where neither is given; the classes weigh alike however many documents each has
    sample: int = 10_000  # documents of either class to learn from, at most
    bits: int = 18  # 2^bits features that words are hashed to
    penalty: float = 1.0  # inverse of scikit-learn's C: larger means smaller weights
    seed: int = 1

    def __post_init__(self) -> None:
        require(
            len(self.positive) > 0, "QualityClassifier.positive=()", "name at least one file or folder of good text"
        )
        both = self.keep is not None and self.pareto is not None
        require(not both, f"QualityClassifier.keep={self.keep}, pareto={self.pareto}", "give one of them at most")
        require_positive(self, "pareto", "sample", "penalty")
        for name in ("keep", "least_score"):
            share = getattr(self, name)
            require(share is None or 0 < share <= 1, f"QualityClassifier.{name}={share}", "must lie above 0, up to 1")
        require(8 <= self.bits <= 24, f"QualityClassifier.bits={self.bits}", "must lie between 8 and 24")


@strict
@frozen
class Perplexity:
    """Documents whose perplexity lies between two quantiles stay, the lowest being the likeliest text.

    By n-grams with Kneser-Ney smoothing, here of bytes, learned from a
    reference such as Wikipedia (Wenzek et al. 2020, arXiv:1911.00359: head,
    middle and tail, a third of the text each; here thirds of the documents).
    Without a reference the corpus is its own: two models learn from documents
    told apart by hash of their text, and judge those that they have not learned.
    """

    kind: Literal["perplexity"] = tag("perplexity")
    reference: tuple[str, ...] = file_path(())  # as QualityClassifier.positive
    field: str = "text"  # of JSONL and Parquet
    own: bool = False  # the corpus is its own reference
    above: float = 0.0  # share of the documents, those of the lowest perplexity, that goes
    below: float = 1 / 3  # share of the documents at which those of the highest begin to go
    order: int = 5
    most_bytes: int = 1 << 22  # of text that a model learns from
    seed: int = 1

    def __post_init__(self) -> None:
        require(
            bool(self.reference) != self.own,
            f"Perplexity.reference={self.reference}, own={self.own}",
            "name files or folders of good text, or set own=True to take the corpus itself",
        )
        require_positive(self, "most_bytes")
        require(
            0 <= self.above < self.below <= 1,
            f"Perplexity.above={self.above}, below={self.below}",
            "shares from 0 to 1, `above` the smaller",
        )
        require(2 <= self.order <= 8, f"Perplexity.order={self.order}", "must lie between 2 and 8")
