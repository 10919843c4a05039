"""What came before transformers: recurrent networks, n-gram counts, word vectors."""

from typing import Literal

from scaling.config.fields import frozen, require, require_positive, strict, tag


@strict
@frozen
class RecurrentConfig:
    """Stacked recurrent layers: a language model, or a sequence-to-sequence model with additive attention."""

    kind: Literal["recurrent"] = tag("recurrent")
    vocab: int
    dim: int  # of the embedding and of every layer's state
    layers: int
    context: int = 128  # the longest sequence of either side, tokens
    cell: Literal["rnn", "lstm"] = "lstm"  # Elman's tanh cell, or Hochreiter & Schmidhuber's with a forget gate
    architecture: Literal["decoder", "encoder_decoder"] = "decoder"  # the latter: Bahdanau et al. 2015
    tied: bool = True  # head shares the embedding matrix

    def __post_init__(self) -> None:
        require_positive(self, "vocab", "dim", "layers", "context")
        require(
            self.architecture == "decoder" or self.dim % 2 == 0,
            f"RecurrentConfig.dim={self.dim} with an encoder",
            "the encoder reads in both directions, half the state each; choose an even dim",
        )


@strict
@frozen
class NgramConfig:
    """Counts of n-grams with interpolated Kneser-Ney smoothing (Chen & Goodman 1999), or a plain table of contexts.

    The table knows contexts of order - 1 tokens and nothing shorter. A context
    begins with `pseudocounts` in all, evenly over the vocabulary: the mean of a
    symmetric Dirichlet prior (Lidstone 1920). Its expected loss can be computed,
    also with `rows` for some contexts only: after the others it guesses.
    """

    kind: Literal["ngram"] = tag("ngram")
    vocab: int
    order: int = 5  # the longest n-gram, its predicted token included
    context: int = 128  # tokens of a sequence; no n-gram crosses its beginning
    architecture: Literal["counts"] = "counts"
    pseudocounts: float | None = None  # of a context, evenly over the vocabulary; None: Kneser-Ney smoothing
    rows: int | None = None  # of a table of single tokens: those below it have a row as contexts; None: all

    def __post_init__(self) -> None:
        require_positive(self, "vocab", "order", "context", "pseudocounts", "rows")
        require(
            self.rows is None or (self.order == 2 and self.pseudocounts is not None),
            f"NgramConfig.rows={self.rows} with order={self.order}, pseudocounts={self.pseudocounts}",
            "rows are those of a table of single tokens; give order=2 and pseudocounts",
        )


@strict
@frozen
class Word2VecConfig:
    """Two vectors a token, one as a centre and one as a neighbour (Mikolov et al. 2013, arXiv:1310.4546)."""

    kind: Literal["word2vec"] = tag("word2vec")
    vocab: int
    dim: int
    context: int = 128  # tokens of a sequence; no pair crosses its edges
    architecture: Literal["word_vectors"] = "word_vectors"

    def __post_init__(self) -> None:
        require_positive(self, "vocab", "dim", "context")
