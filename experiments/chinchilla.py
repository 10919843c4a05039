"""Chinchilla's question: does the compute-optimal model grow as fast as its data?"""

from functools import partial

from scaling.config import DataConfig, Precision
from scaling.plan import Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import chain, isoflop, repeated


def study(
    *,
    budgets: tuple[float, ...] = (1e10, 3.2e10, 1e11, 3.2e11, 1e12, 3.2e12),
    sizes_per_budget: int = 5,
    sizes: Ladder = "tiny",
    data: DataConfig = DataConfig(),
    context: int = 64,
    batch: int = 4,
    precision: Precision = "float32",
    lr: float = 6e-3,
    seeds: int = 2,
) -> Study:
    """IsoFLOP curves over two and a half decades; `--sizes large` for accelerators.

    budgets: training FLOPs of each isoFLOP curve, attention and head included
    sizes_per_budget: models on each curve
    sizes: ladder of models, 5 thousand to 5 million or 3 million to 13 billion parameters
    data: corpus and tokenizer
    context: tokens a sequence
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate at width 32; other widths get lr * 32 / width
    seeds: on two cells of the smallest budget's middle size, to measure the noise
    """
    run_of = partial(sized_run, data=data, batch=batch, lr=lr, precision=precision)
    ladder = models(sizes, data.total_vocab, context)
    cells = isoflop(run_of, ladder, budgets, sizes_per_budget=sizes_per_budget)
    return Study(
        name="chinchilla",
        question="Does the compute-optimal model grow as fast as the data it is trained on?",
        published="Hoffmann et al. 2022 (arXiv:2203.15556): N* grows as C^0.49 from isoFLOP minima (80% interval 0.46 "
        "to 0.53), about 20 tokens a parameter. Besiroglu et al. 2024 (arXiv:2404.10102), refitting its data: 0.513.",
        shows="Approaches 2 and 3 of the paper, side by side, with learning rates that decay to each run's own end.",
        cannot_show="At tiny sizes embedding and head are much of the model and the loss is far above its floor, so "
        "the exponent is this family's, on this corpus, at this scale; only the procedure carries over.",
        forecast_flops=10 * max(budgets, default=0.0),
        cells=chain(cells, repeated(cells, range(1, seeds))),
    )
