"""Kaplan's question: how does loss fall with size and data, and what did the counting do to the answer?"""

from collections.abc import Iterator
from functools import partial

from scaling.config import DataConfig, Precision
from scaling.plan import Cell, Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import branches, chain, costliest, round_tokens


def study(
    *,
    tokens: tuple[float, ...] = (1.25e5, 5e5, 2e6, 6e6),
    size_count: int = 7,
    sizes: Ladder = "tiny",
    data: DataConfig = DataConfig(),
    context: int = 64,
    batch: int = 4,
    precision: Precision = "float32",
    lr: float = 6e-3,
    seeds: int = 2,
) -> Study:
    """Every size trained on every number of tokens, from one trunk a size: a full grid in N and D.

    tokens: horizons, for every size
    size_count: models, the smallest of the ladder first
    sizes: ladder of models, 5 thousand to 5 million or 3 million to 13 billion parameters
    data: corpus and tokenizer
    context: tokens a sequence
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate at width 32; other widths get lr * 32 / width
    seeds: on the two smallest sizes, to measure the noise
    """
    run_of = partial(sized_run, data=data, batch=batch, lr=lr, precision=precision)
    horizons = [round_tokens(count, batch * context) for count in tokens]

    def cells() -> Iterator[Cell]:
        for index, model in enumerate(models(sizes, data.total_vocab, context, size_count=size_count)):
            for seed in range(seeds if index < 2 else 1):
                yield from branches(run_of(model, seed=seed), horizons)

    planned = chain(cells())
    return Study(
        name="kaplan",
        question="How does loss fall with parameters and data together, and how much of N* ~ C^0.73 is counting?",
        published="Kaplan et al. 2020 (arXiv:2001.08361): L(N,D) with exponents 0.076 and 0.103, N without embeddings; "
        "N* grows as C^0.73. Pearce & Song 2024 (arXiv:2406.12907): Chinchilla's own law, counted Kaplan's way at "
        "small sizes, gives 0.74 to 0.78.",
        shows="One set of runs read with several counts of N and C: how far the counting alone moves the exponent.",
        cannot_show="Kaplan's exponents themselves: they belong to WebText2, a vocabulary of 50,257 and models up to "
        "1.5 billion parameters.",
        forecast_flops=10 * costliest(planned),
        cells=planned,
    )
