"""From windows of text to examples, whatever the objective.

Letters: B sequences, W tokens of a window: one more than the text.
"""

from functools import partial

import jax
from jax import Array

from scaling.config import (
    Completion,
    Denoising,
    Masked,
    MixtureOfDenoisers,
    ModelConfig,
    NextToken,
    ObjectiveConfig,
    Prefix,
    ReplacedTokens,
    SpanCorruption,
    lengths,
)
from scaling.objectives.completion import completion
from scaling.objectives.denoising import denoising
from scaling.objectives.example import Example
from scaling.objectives.layout import Pair, arranged
from scaling.objectives.marks import Marks
from scaling.objectives.masked import masked
from scaling.objectives.next_token import next_token
from scaling.objectives.prefix import prefix
from scaling.objectives.replaced import masked_for_generator
from scaling.objectives.spans import span_corruption, ul2
from scaling.objectives.special_tokens import special


def example(
    model: ModelConfig,
    objective: ObjectiveConfig,
    specials: int,
    window_BW: Array,
    keys_B: Array,
    marks: Marks | None = None,
    other_BW: Array | None = None,
) -> Example:
    """What the model reads and predicts of each window, in the shapes that `lengths` says.

    A row depends on its own window and key alone. specials: special tokens at
    the end of the vocabulary. marks: where the objective `needs_marks`.
    other_BW: other windows, where it `needs_pairs`. Of replaced tokens it is
    the generator's example.

    Raises ValueError when marks, other windows or an example itself are missing.
    """
    _check_given(objective, marks, other_BW)
    ordinary = model.vocab - specials
    text_BT, other_BT = window_BW[:, :-1], None if other_BW is None else other_BW[:, :-1]
    if isinstance(objective, NextToken):
        return next_token(window_BW)
    if isinstance(objective, Masked):
        begins_word_V = marks.begins_word_V if objective.whole_words else None
        make = partial(masked, objective, ordinary, begins_word_V=begins_word_V)
        return jax.vmap(lambda key, text_T, other_T: make(key, text_T, other_T=other_T))(keys_B, text_BT, other_BT)
    if isinstance(objective, ReplacedTokens):
        return jax.vmap(partial(masked_for_generator, objective, ordinary))(keys_B, text_BT)
    if isinstance(objective, Completion):
        pair = completion(lengths(model, objective), window_BW)
    else:
        pair = _pair(objective, ordinary, window_BW, keys_B, marks)
    return arranged(model.architecture, pair, lengths(model, objective).positions, special(ordinary, "start"))


def needs_marks(objective: ObjectiveConfig) -> bool:
    """Whether it must know where words begin or sentences end."""
    if isinstance(objective, Masked):
        return objective.whole_words
    return isinstance(objective, Denoising) and objective.permute_sentences


def needs_pairs(objective: ObjectiveConfig) -> bool:
    """Whether every window is given another."""
    return isinstance(objective, Masked) and objective.next_sentence


def _pair(objective: ObjectiveConfig, ordinary: int, window_BW: Array, keys_B: Array, marks: Marks | None) -> Pair:
    if isinstance(objective, Prefix):
        return prefix(objective, window_BW)
    if isinstance(objective, SpanCorruption):
        make = partial(span_corruption, objective, ordinary)
    elif isinstance(objective, MixtureOfDenoisers):
        make = partial(ul2, ordinary)
    elif isinstance(objective, Denoising):
        ends_sentence_V = marks.ends_sentence_V if objective.permute_sentences else None
        make = partial(denoising, objective, ordinary, ends_sentence_V=ends_sentence_V)
    else:
        raise ValueError(
            f"objective {objective.kind!r} makes no examples: word vectors draw their pairs themselves; "
            "call scaling.models.word2vec.losses"
        )
    return jax.vmap(make)(keys_B, window_BW[:, :-1])


def _check_given(objective: ObjectiveConfig, marks: Marks | None, other_BW: Array | None) -> None:
    if needs_marks(objective) and marks is None:
        raise ValueError(
            f"objective {objective.kind!r} with words or sentences, but marks=None; "
            "give marks(tokenizer.pieces, specials)"
        )
    if needs_pairs(objective) and other_BW is None:
        raise ValueError(
            f"objective {objective.kind!r} with next_sentence, but other_BW=None; give another window for each row"
        )
