"""How much of a pool of text should be kept, and does that depend on the budget?"""

import sysconfig
from dataclasses import replace
from functools import partial

from scaling.config import DataConfig, Precision, Source
from scaling.config.cleaning_quality import QualityClassifier
from scaling.plan import Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import Sweep, arm, chain, isoflop, repeated, round_tokens

STDLIB = sysconfig.get_paths()["stdlib"]
LIBRARIES = ("concurrent", "email", "http", "importlib", "json", "logging", "multiprocessing", "urllib", "xml")
# Raw bytes, which are the same for all cuts.
DATA = DataConfig(tokenizer="bytes", vocab=257, validation_fraction=0.2, heldout_sequences=1024, max_epochs=512.0)


def study(
    *,
    keeps: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125, 0.0625),
    pool: float = 5e5,
    budgets: tuple[float, ...] = (1e10, 4e10, 1.6e11, 6.4e11, 2.56e12),
    sizes_per_budget: int = 1,
    sizes: Ladder = "tiny",
    tokens_per_param: float = 20.0,
    positive: tuple[str, ...] = tuple(f"{STDLIB}/{name}" for name in LIBRARIES),
    judged: str = f"{STDLIB}/asyncio",
    data: DataConfig = DATA,
    context: int = 64,
    batch: int = 4,
    precision: Precision = "float32",
    lr: float = 6e-3,
    seeds: int = 2,
) -> Study:
    """The same models and budgets on the best share of a pool by a classifier, read as often as it takes.

    keeps: shares of the documents that are kept; 1 is the pool without a filter
    pool: tokens that there are before the cut; of a cut so many times its share are drawn, then read again and again
    budgets: training FLOPs, attention and head included
    sizes_per_budget: models on each budget
    sizes: ladder of models, 5 thousand to 5 million or 3 million to 13 billion parameters
    tokens_per_param: about which the sizes are centred
    positive: files or folders of good text, from which the classifier learns
    judged: folder of text like the positive, but none of it; all cuts are judged on its validation split
    data: the pool and the tokenizer
    context: tokens a sequence
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate of width 32; other widths get lr * 32 / width
    seeds: of the smallest budget without a filter, to measure the noise
    """
    ladder = models(sizes, data.total_vocab, context)
    data = replace(data, heldout=Source(kind="folder", path=judged))

    def cells_of(keep: float) -> Sweep:
        best = () if keep == 1 else (QualityClassifier(positive=positive, keep=keep),)
        cut = replace(data, cleaning=(*data.cleaning, *best), most_tokens=round_tokens(keep * pool, batch * context))
        run_of = partial(sized_run, data=cut, batch=batch, lr=lr, precision=precision)
        cells = isoflop(run_of, ladder, budgets, sizes_per_budget=sizes_per_budget, tokens_per_param=tokens_per_param)
        again = repeated(cells, range(1, seeds)) if keep == max(keeps) else chain()
        return arm(chain(cells, again), f"keep {keep:g}")

    return Study(
        name="filtering",
        question="How much of a pool of text should be kept, and does the best share depend on the budget?",
        published="Goyal et al. 2024 (arXiv:2404.07177): the best filter depends on compute. Text loses worth each "
        "time it is read again, so a strict cut wins on small budgets and a milder one, which repeats less, on large.",
        shows="Held-out bits per byte of the same text, code of a library that no filter has learned from, against the "
        "share that is kept and the budget: whether a filter helps, which share is best, and whether that one grows.",
        cannot_show="What web text gains, which is far worse than the standard library's tests and tables are beside "
        "its modules, and the budget at which a filter stops to pay there. The cut is by documents, which differ in "
        "length. Where the interpreter comes without its tests there is less to cut away.",
        forecast_flops=10 * max(budgets, default=0.0),
        cells=chain(*(cells_of(keep) for keep in keeps)),
    )
