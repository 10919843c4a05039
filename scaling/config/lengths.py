"""How many positions a model computes for a stretch of text: fixed for every model and objective.

An objective turns `text` tokens into what each side reads and predicts. The
lengths do not depend on chance, so every batch of a run has one shape; only
of prompts and completions there may be a few, and the lengths are those of the
longest.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, sqrt
from typing import Literal, NamedTuple

from scaling.config.fields import require
from scaling.config.objective import SPECIALS, MixtureOfDenoisers, ObjectiveConfig, SpanCorruption

# Of UL2's denoisers: mean span and rate (Tay et al. 2022, table 2); the seventh is the sequential one.
UL2_SPANS = ((3.0, 0.15), (8.0, 0.15), (3.0, 0.5), (8.0, 0.5), (64.0, 0.15), (64.0, 0.5))
UL2_REGULAR = 2  # so many of them, the first, are regular, the others extreme
UL2_SEQUENTIAL = 0.25  # share of the text that the sequential denoiser predicts

# What an objective can be learned by.
ARCHITECTURES = {
    "next_token": ("decoder", "counts"),
    "prefix": ("decoder", "prefix", "encoder_decoder"),
    "completion": ("encoder_decoder",),
    "masked": ("encoder",),
    "span_corruption": ("decoder", "prefix", "encoder_decoder"),
    "ul2": ("decoder", "prefix", "encoder_decoder"),
    "denoising": ("decoder", "prefix", "encoder_decoder"),
    "replaced_tokens": ("encoder",),
    "skip_gram": ("word_vectors",),
}


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Of one sequence."""

    text: int  # tokens of text: what "tokens seen" counts
    source: int  # positions that the encoder of an encoder-decoder reads; 0 elsewhere
    positions: int  # of the decoder, or of the only stack
    predicted: int  # tokens to predict: the logits that are computed
    specials: int  # special tokens that must follow the tokenizer's own


@cache
def lengths(model, objective: ObjectiveConfig) -> Lengths:
    """Lengths of the objective's sequences for a model, as long as its context allows, or of `objective.text`.

    Raises ValueError when the model's architecture cannot learn the
    objective, or no text fits.
    """
    able = ARCHITECTURES[objective.kind]
    require(
        model.architecture in able,
        f"objective {objective.kind!r} with architecture={model.architecture!r}",
        f"it is learned by {' or '.join(able)}; an encoder learns 'masked', a decoder 'next_token'",
    )
    if objective.text is not None:
        found = _lengths(model.architecture, objective, objective.text)
        require(
            max(found.source, found.positions) <= model.context,
            f"objective {objective.kind!r} makes {found.source} source and {found.positions} other positions of "
            f"text={objective.text} tokens, but context={model.context}",
            "lower the objective's text, or raise context",
        )
        return found
    for text in range(2 * model.context + 1, 0, -1):
        if _sensible(objective, text):
            found = _lengths(model.architecture, objective, text)
            if max(found.source, found.positions) <= model.context:
                return found
    raise ValueError(
        f"objective {objective.kind!r}: no text fits into context={model.context}"
        f"{_prefix_hint(objective)}; raise context"
    )


def noise_tokens(text: int, rate: float) -> int:
    """Tokens that an objective corrupts: the rate's share, at least one and not all."""
    return min(max(1, round(text * rate)), max(1, text - 1))


def noise_spans(text: int, rate: float, mean_span: float) -> int:
    """Spans that they lie in, at least one; each is followed, or preceded, by a token that stays."""
    noise = noise_tokens(text, rate)
    return min(max(1, round(noise / mean_span)), noise, max(1, text - noise))


def prefix_tokens(objective, text: int) -> int:
    return objective.prefix if objective.prefix is not None else max(1, text // 2)


def prompt_tokens(objective, text: int) -> int:
    return objective.prompt if objective.prompt is not None else text // 2


def span_lengths(text: int, rate: float, mean_span: float) -> tuple[int, int]:
    """Source and target of span corruption, each with its end token."""
    noise, spans = noise_tokens(text, rate), noise_spans(text, rate, mean_span)
    return text - noise + spans + 1, noise + spans + 1


class Denoiser(NamedTuple):
    """One of UL2's."""

    noise: int  # tokens that are predicted
    spans: int  # that they lie in; a single span is the end of the text
    mode: Literal["regular", "extreme", "sequential"]  # names the token that begins the source
    marked: bool  # whether sentinels stand for the spans

    def lengths(self, text: int) -> tuple[int, int]:
        """Of source and target, with an end token each and the source's naming token."""
        sentinels = self.spans if self.marked else 0
        return text - self.noise + sentinels + 2, self.noise + sentinels + 1


def ul2_denoisers(text: int) -> tuple[Denoiser, ...]:
    """All seven; the sequential one is the last."""
    marked = [
        Denoiser(
            noise_tokens(text, rate),
            noise_spans(text, rate, mean),
            "regular" if index < UL2_REGULAR else "extreme",
            True,
        )
        for index, (mean, rate) in enumerate(UL2_SPANS)
    ]
    return (*marked, Denoiser(noise_tokens(text, UL2_SEQUENTIAL), 1, "sequential", False))


def ul2_lengths(text: int) -> tuple[int, int]:
    """The longest source, its naming token included, and the longest target of UL2's denoisers."""
    each = [denoiser.lengths(text) for denoiser in ul2_denoisers(text)]
    return max(source for source, _ in each), max(target for _, target in each)


def infill_masks(text: int, rate: float, mean_span: float) -> int:
    """The most masks that infilling writes.

    n spans of mean m hold a Poisson number of tokens, of mean n m. So many
    spans that the noise lies four standard deviations below this mean: in
    fewer than one text of 30,000 they hold less, and one span more takes
    what is left.
    """
    held = (2 + sqrt(4 + noise_tokens(text, rate))) ** 2  # held - 4 sqrt(held) = noise
    return 1 + ceil(held / mean_span)


def denoising_source(objective, text: int) -> int:
    """Source of BART's objective with its end token; infilling, whose masks vary in number, pads it."""
    noise = noise_tokens(text, objective.rate)
    masks = {"mask": noise, "delete": 0, "infill": infill_masks(text, objective.rate, objective.mean_span)}
    return text - noise + masks[objective.noise] + 1


def _sensible(objective, text: int) -> bool:
    """Whether there is anything to predict and anything to predict it from."""
    if objective.kind == "prefix":
        return prefix_tokens(objective, text) < text
    if objective.kind == "completion":
        prompt, least = prompt_tokens(objective, text), 2 ** (objective.shapes - 1)
        return 0 < prompt < text and prompt % least == 0 and text % least == 0
    return text >= (1 if objective.kind in ("next_token", "skip_gram") else 2)


_TOO_SHORT = {
    "prefix": "the prefix must be shorter than the text",
    "completion": "the prompt must be shorter than the text, and 2 ** (shapes - 1) must divide both",
}


def _lengths(architecture: str, objective, text: int) -> Lengths:
    require(
        _sensible(objective, text),
        f"objective {objective.kind!r} on text={text} tokens{_prefix_hint(objective)}",
        _TOO_SHORT.get(objective.kind, "give it at least 2"),
    )
    if objective.kind in ("next_token", "skip_gram"):
        return Lengths(text=text, source=0, positions=text, predicted=text, specials=0)
    if objective.kind == "masked":
        around = 3 if objective.next_sentence else 2  # [CLS] A [SEP], or [CLS] A [SEP] B [SEP]
        return Lengths(
            text=text, source=0, positions=text + around, predicted=noise_tokens(text, objective.rate), specials=5
        )
    if objective.kind == "replaced_tokens":
        return Lengths(text=text, source=0, positions=text + 2, predicted=text, specials=5)
    if objective.kind == "prefix":
        source, target, specials = prefix_tokens(objective, text), text - prefix_tokens(objective, text) + 1, 1
    elif objective.kind == "completion":
        source, target, specials = prompt_tokens(objective, text), text - prompt_tokens(objective, text), 1
    elif isinstance(objective, SpanCorruption):
        source, target = span_lengths(text, objective.rate, objective.mean_span)
        specials = len(SPECIALS) + noise_spans(text, objective.rate, objective.mean_span)
    elif isinstance(objective, MixtureOfDenoisers):
        source, target = ul2_lengths(text)
        specials = len(SPECIALS) + max(noise_spans(text, rate, mean) for mean, rate in UL2_SPANS)
    else:
        source, target, specials = denoising_source(objective, text), text + 1, 3
    if architecture == "encoder_decoder":
        return Lengths(text=text, source=source, positions=target, predicted=target, specials=specials)
    positions = source + target - 1
    if objective.kind == "prefix":  # one text, read once: nothing is marked
        specials = 0
    if objective.kind == "ul2":  # the denoiser with the longest source has not the longest target
        positions = max(sum(denoiser.lengths(text)) for denoiser in ul2_denoisers(text)) - 1
    return Lengths(text=text, source=0, positions=positions, predicted=target, specials=specials)


def _prefix_hint(objective) -> str:
    prefix = getattr(objective, "prefix", None)
    return f" with prefix={prefix}" if prefix is not None else ""
