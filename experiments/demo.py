"""How should a small budget be split between parameters and tokens? Minutes on a laptop."""

from functools import partial

from scaling.config import DataConfig
from scaling.plan import Study
from scaling.sizes import models, sized_run
from scaling.sweeps import chain, isoflop, repeated

BATCH = 4  # sequences; small, so that the smallest budget still buys a hundred steps
CONTEXT = 64
DATA = DataConfig(heldout_sequences=1024)


def study(
    *,
    budgets: tuple[float, ...] = (1.6e10, 5e10, 1.6e11, 5e11),
    sizes_per_budget: int = 5,
    data: DataConfig = DATA,
    lr: float = 6e-3,
    seed: int = 0,
) -> Study:
    """IsoFLOP curves of tiny decoders, all cooldown branches of one trunk a size.

    budgets: training FLOPs of each isoFLOP curve, attention and head included
    sizes_per_budget: models on each curve
    data: corpus and tokenizer
    lr: peak learning rate at width 32; other widths get lr * 32 / width
    seed: of initialisation and data order; the repeated cells use the next one
    """
    run_of = partial(sized_run, data=data, batch=BATCH, lr=lr, seed=seed)
    ladder = models("tiny", data.total_vocab, CONTEXT)
    cells = isoflop(run_of, ladder, budgets, sizes_per_budget=sizes_per_budget)
    return Study(
        name="demo",
        question="How should a training budget be split between parameters and tokens?",
        published="Hoffmann et al. 2022 (arXiv:2203.15556): the optimal size grows as C^0.49 (isoFLOP minima, 80% "
        "interval 0.46 to 0.53) and as C^0.46 (surface fit): parameters and tokens in about equal measure.",
        shows="The whole protocol on real text: isoFLOP curves with matched cooldowns, a surface fit with bootstrap "
        "intervals, and a forecast that a larger run can put to the test.",
        cannot_show="Its exponents are not comparable across tokenizers, loss floors or counting conventions: these "
        "models are a million times smaller than Chinchilla's, embedding and head are a large part of them, and the "
        "corpus is one kind of text.",
        forecast_flops=10 * max(budgets, default=0.0),
        cells=chain(cells, repeated(cells, [seed + 1])),
    )
