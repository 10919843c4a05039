"""Examples of many rows, made once for all tests, and what they were made from."""

from functools import cache, partial
from types import SimpleNamespace

import jax
import numpy as np

from scaling.config import TransformerConfig, lengths
from scaling.objectives.build import example
from scaling.objectives.marks import Marks

ORDINARY, SPECIALS = 300, 60  # tokens
TEXT, ROWS = 61, 512  # tokens a row, rows: one shape for most tests, that they share what is made

# Any marks will do: every third token begins a word, every seventh ends a sentence.
TOKENS = np.arange(ORDINARY + SPECIALS)
MARKS = Marks((TOKENS % 3 == 0) & (TOKENS < ORDINARY), (TOKENS % 7 == 0) & (TOKENS < ORDINARY))


def model(architecture, context=512):
    return TransformerConfig(
        vocab=ORDINARY + SPECIALS, dim=8, layers=1, heads=1, context=context, architecture=architecture
    )


@cache
def windows(text, rows=ROWS, seed=0):
    """Windows of text + 1 ordinary tokens, (rows, text + 1); no token stands twice in a row."""
    draw = np.random.default_rng([seed, text])
    return np.stack([draw.permutation(ORDINARY)[: text + 1] for _ in range(rows)]).astype(np.int32)


# A fast compiler: here compiling takes longer than running.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@cache
def compiled(architecture, objective):
    return quick_jit(partial(example, model(architecture), objective, SPECIALS))


@cache
def made(architecture, objective, rows=ROWS, seed=0):
    """Of an objective with `text` given: its example as numpy arrays, the window, its text, and the lengths."""
    found = lengths(model(architecture), objective)
    window_BW, other_BW = windows(found.text, rows), windows(found.text, rows, seed=1)
    keys_B = jax.random.split(jax.random.key(seed), rows)
    result = compiled(architecture, objective)(window_BW, keys_B, MARKS, other_BW)
    return SimpleNamespace(
        **jax.tree.map(np.asarray, result)._asdict(),
        window_BW=window_BW,
        other_BW=other_BW,
        text_BT=window_BW[:, :-1],
        lengths=found,
    )


def assert_share(found, expected, draws):
    """The share of hits lies within five binomial standard deviations: one false alarm in two million."""
    assert abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / draws), (found, expected, draws)
