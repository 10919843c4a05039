"""Does the whole lab find a law that is known exactly? A table of contexts learns a Zipf world, many times over."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

from scaling.config import DataConfig, NgramConfig, RunConfig, Source, ZipfWorld
from scaling.config.worlds import FIRST_CONTEXT
from scaling.plan import Cell, Study
from scaling.sweeps import chain, round_tokens

CONTEXT = 64  # tokens of a sequence; the table looks back one token, so that its first alone is not predicted
BATCH = 4
RESERVED = 257  # tokens for bytes and the end of a document, before those for characters


def study(
    *,
    worlds: int = 40,
    alpha: float = 1.0,
    tokens: tuple[float, ...] = (2e3, 3.5e3, 6e3, 1.1e4, 2e4, 3.5e4, 6e4, 1.1e5, 2e5, 3.5e5, 6e5, 1e6),
    sizes: tuple[int, ...] = (),
    contexts: int = 40_000,
    noise: float = 0.1,
    pseudocounts: float = 1.0,
    heldout_sequences: int = 4000,
) -> Study:
    """Tables of contexts, each trained on a sample of its own, from worlds that differ in their seed alone.

    worlds: each with answers, characters and documents of its own; each is an arm, to which one law is fitted
    alpha: contexts are drawn with chances k^-(1 + alpha); the loss must fall as D^-beta, beta = alpha / (1 + alpha)
    tokens: of each run of an arm
    sizes: how many contexts, the commonest, a table has rows for; every size reads all numbers of tokens; none: all
    contexts: there are in each world; too few, and the power law ends within the runs
    noise: chance that an answer is drawn evenly
    pseudocounts: of a context, evenly over the vocabulary
    heldout_sequences: on which all runs of a world are measured
    """
    if worlds < 2:
        raise ValueError(f"worlds={worlds}: how much fits vary is seen in 2 or more")

    if sizes and not 1 <= min(sizes) <= max(sizes) <= contexts:
        raise ValueError(f"sizes={sizes}: a table has rows for 1 to contexts={contexts}")

    def cells() -> Iterator[Cell]:
        for seed in range(worlds):
            world = world_of(seed, alpha, max(tokens), contexts, noise)
            data = data_of(replace(world, characters="by_rank") if sizes else world, heldout_sequences)
            for place, (size, count) in enumerate(itertools.product(sizes or (None,), tokens)):
                rows = None if size is None else RESERVED + FIRST_CONTEXT + size
                run = RunConfig(
                    model=NgramConfig(vocab=data.vocab, order=2, context=CONTEXT, pseudocounts=pseudocounts, rows=rows),
                    data=data,
                    tokens=round_tokens(count, BATCH * CONTEXT),
                    batch=BATCH,
                    seed=place,  # windows in an order of their own: runs share no more text than they must
                )
                yield Cell(run=run, arm=f"world {seed}")

    return Study(
        name="oracle",
        question="Does the lab find the exponent and the floor of a law that is known exactly?",
        published=f"Hutter 2021 (arXiv:2102.04074), theorem on tables of Zipf's contexts: the excess loss falls as "
        f"D^-beta, beta = alpha / (1 + alpha) = {alpha / (1 + alpha):.4g}." + sizes_say(alpha) * bool(sizes),
        shows="The way from the plan through data, training and records to the fit, against an exponent, a floor and "
        "expected losses that are computed and not measured; and how often the intervals hold them.",
        cannot_show="Anything about models that generalise from one context to another: a table does not.",
        forecast_flops=1.0,  # a table takes no FLOPs; there is nothing to forecast in them
        cells=chain(cells()),
    )


def sizes_say(alpha: float) -> str:
    """What is known of tables with rows for N contexts only."""
    return (
        f" With rows for N contexts only it falls as N^-{alpha:g}, for the chances of all others sum to that; so the "
        f"best size for N D = C grows as C^(1 / (2 + alpha)) = C^{1 / (2 + alpha):.4g}."
    )


def world_of(seed: int, alpha: float, longest: float, contexts: int, noise: float) -> ZipfWorld:
    """A world of two and a half times the tokens of its largest run: a fifth is held out, a run reads half the rest."""
    facts = max(200, min(2000, int(longest) // 100))
    documents = -(-int(2.5 * longest) // (2 * facts))
    return ZipfWorld(seed=seed, documents=max(50, documents), facts=facts, contexts=contexts, alpha=alpha, noise=noise)


def data_of(world: ZipfWorld, heldout_sequences: int) -> DataConfig:
    """The world's text, a token a character."""
    return DataConfig(
        source=Source(kind="world", world=world),
        tokenizer="characters",
        vocab=RESERVED + world.code_points,
        validation_fraction=0.2,
        heldout_sequences=heldout_sequences,
    )
