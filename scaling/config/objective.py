"""What a model is asked to predict: how a stretch of text becomes inputs and targets of fixed lengths."""

from typing import Annotated, Any, Literal

from scaling.config.fields import ToldApartByKind, frozen, require, require_positive, strict, tag

# Special tokens follow the tokenizer's own, in this order; sentinels follow these.
SPECIALS = ("start", "end", "mask", "class", "separator", "regular", "extreme", "sequential")


@strict
@frozen
class NextToken:
    """Every token from those before it."""

    kind: Literal["next_token"] = tag("next_token")
    text: int | None = None  # tokens of text a sequence, as in every objective; None: as many as fit the context
    completions: bool = False  # no loss on prompts: what follows a document's prompt is learned, and its end


@strict
@frozen
class Prefix:
    """The rest of a text from its beginning."""

    kind: Literal["prefix"] = tag("prefix")
    text: int | None = None
    prefix: int | None = None  # tokens of the beginning; None: half of the text

    def __post_init__(self) -> None:
        require_positive(self, "text", "prefix")


@strict
@frozen
class Completion:
    """A document's completion from its prompt, which the encoder reads."""

    kind: Literal["completion"] = tag("completion")
    text: int | None = None  # of the longest batches: positions of prompt and completion together
    prompt: int | None = None  # of these so many for the prompt and its end, of which a longer one keeps the last;
    # None: half. The rest are for the completion and its end, of which a longer one keeps the first
    shapes: int = 1  # of batches: the second has half the length of the first and twice its rows, and so on

    def __post_init__(self) -> None:
        require_positive(self, "text", "prompt", "shapes")
        require(self.shapes <= 8, f"Completion.shapes={self.shapes}", "must be at most 8: each is compiled by itself")


@strict
@frozen
class Masked:
    """Masked tokens from the whole text (Devlin et al. 2019, arXiv:1810.04805, section 3.1)."""

    kind: Literal["masked"] = tag("masked")
    text: int | None = None
    rate: float = 0.15  # of the tokens are predicted: of these ...
    mask_share: float = 0.8  # ... become the mask token,
    random_share: float = 0.1  # a random token; the others stay
    whole_words: bool = False  # the tokens of a word are chosen together
    next_sentence: bool = False  # two texts: does the second follow the first? A loss beside the one that is fitted

    def __post_init__(self) -> None:
        _require_rate(self)
        for name in ("mask_share", "random_share"):
            require(0 <= getattr(self, name) <= 1, f"Masked.{name}={getattr(self, name)}", "must be in [0, 1]")
        require(
            self.mask_share + self.random_share <= 1,
            f"Masked.mask_share={self.mask_share} + random_share={self.random_share}",
            "must not exceed 1",
        )


@strict
@frozen
class SpanCorruption:
    """Spans that a sentinel stands for (Raffel et al. 2020, arXiv:1910.10683, section 3.1.4)."""

    kind: Literal["span_corruption"] = tag("span_corruption")
    text: int | None = None
    rate: float = 0.15  # of the tokens lie in spans
    mean_span: float = 3.0  # tokens

    def __post_init__(self) -> None:
        _require_rate(self)
        require(self.mean_span >= 1, f"SpanCorruption.mean_span={self.mean_span}", "must be at least 1")


@strict
@frozen
class MixtureOfDenoisers:
    """UL2 (Tay et al. 2022, arXiv:2205.05131, table 2): regular, extreme and sequential denoising, a token naming each.

    Seven denoisers, each as likely: spans of mean 3 and 8 at 15% (regular);
    of 3 and 8 at 50%, of 64 at 15% and 50% (extreme); the last quarter of the
    text from the rest (sequential).
    """

    kind: Literal["ul2"] = tag("ul2")
    text: int | None = None


@strict
@frozen
class Denoising:
    """The whole text from a noised one (Lewis et al. 2020, arXiv:1910.13461, section 2.2)."""

    kind: Literal["denoising"] = tag("denoising")
    text: int | None = None
    noise: Literal["mask", "delete", "infill"] = "infill"  # a mask a token, nothing, or a mask a span
    rate: float = 0.3
    mean_span: float = 3.0  # of infilling's spans, whose lengths are Poisson: a mask may stand for nothing
    permute_sentences: bool = False

    def __post_init__(self) -> None:
        _require_rate(self)
        require_positive(self, "mean_span")


@strict
@frozen
class ReplacedTokens:
    """Which tokens did a small masked language model replace? (Clark et al. 2020, ELECTRA, arXiv:2003.10555)"""

    kind: Literal["replaced_tokens"] = tag("replaced_tokens")
    text: int | None = None
    rate: float = 0.15  # of the tokens are masked for the generator
    generator_share: float = 0.25  # width, heads and MLP of the generator, as a share of the model's
    detection_weight: float = 50.0  # of the detection loss beside the generator's

    def __post_init__(self) -> None:
        _require_rate(self)
        require(
            0 < self.generator_share <= 1,
            f"ReplacedTokens.generator_share={self.generator_share}",
            "must lie in (0, 1]",
        )
        require_positive(self, "detection_weight")


@strict
@frozen
class SkipGram:
    """A word's neighbours against words drawn at random (Mikolov et al. 2013, arXiv:1310.4546, eq. 4)."""

    kind: Literal["skip_gram"] = tag("skip_gram")
    text: int | None = None
    window: int = 5  # neighbours on each side
    negatives: int = 5  # random words a pair

    def __post_init__(self) -> None:
        require_positive(self, "window", "negatives")


ObjectiveConfig = Annotated[
    NextToken
    | Prefix
    | Completion
    | Masked
    | SpanCorruption
    | MixtureOfDenoisers
    | Denoising
    | ReplacedTokens
    | SkipGram,
    ToldApartByKind("next_token"),
]


def _require_rate(objective: Any) -> None:
    require_positive(objective, "text")
    require(0 < objective.rate < 1, f"{type(objective).__name__}.rate={objective.rate}", "must lie between 0 and 1")
