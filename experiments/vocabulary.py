"""How large should a vocabulary be, and does the best one grow with the budget?"""

from dataclasses import replace
from functools import partial

from scaling.config import DataConfig, Precision
from scaling.plan import Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import Sweep, arm, chain, isoflop, repeated


def study(
    *,
    vocabs: tuple[int, ...] = (257, 512, 1024, 2048, 4096, 8192),
    budgets: tuple[float, ...] = (1e10, 4e10, 1.6e11, 6.4e11),
    sizes_per_budget: int = 4,
    sizes: Ladder = "tiny",
    tokens_per_param: float = 5.0,
    data: DataConfig = DataConfig(heldout_sequences=1024),
    context: int = 64,
    batch: int = 4,
    precision: Precision = "float32",
    lr: float = 6e-3,
    seeds: int = 2,
) -> Study:
    """Models of several sizes on the same budgets, with vocabularies learned from the same text.

    vocabs: tokens, the 256 bytes and the end of a document included; 257 are raw bytes
    budgets: training FLOPs of each isoFLOP curve, attention and head included
    sizes_per_budget: models on each curve
    sizes: ladder of models by width and depth, the same for all vocabularies
    tokens_per_param: about which the sizes are centred, the vocabulary's parameters included
    data: corpus and kind of tokenizer
    context: tokens a sequence; a larger vocabulary sees more text in as many
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate of width 32; other widths get lr * 32 / width
    seeds: on two cells of the smallest vocabulary's smallest budget, to measure the noise
    """

    def cells_of(vocab: int) -> Sweep:
        own = _with_vocab(data, vocab)
        run_of = partial(sized_run, data=own, batch=batch, lr=lr, precision=precision)
        ladder = models(sizes, own.total_vocab, context)
        cells = isoflop(run_of, ladder, budgets, sizes_per_budget=sizes_per_budget, tokens_per_param=tokens_per_param)
        again = repeated(cells, range(1, seeds)) if vocab == min(vocabs) else chain()
        return arm(chain(cells, again), f"{vocab:,}")

    return Study(
        name="vocabulary",
        question="How large should a vocabulary be, and does the best one grow with the budget?",
        published="Tao et al. 2024 (arXiv:2407.13623): the best number of vocabulary parameters grows as the others to "
        "the power 0.83, so larger models deserve larger vocabularies.",
        shows="Held-out bits per byte at equal training FLOPs, head included, for each vocabulary at the best of a few "
        "sizes: which vocabulary wins at each budget, and how fast each one's loss falls.",
        cannot_show="The power 0.83: that needs budgets over more decades. A sequence has as many tokens for all, so "
        "raw bytes see less text at a time, and part of their loss is that. What a vocabulary costs in memory and "
        "speed on a device is not counted.",
        forecast_flops=10 * max(budgets, default=0.0),
        cells=chain(*(cells_of(vocab) for vocab in vocabs)),
    )


def _with_vocab(data: DataConfig, vocab: int) -> DataConfig:
    """Raw bytes are a kind of tokenizer, without policies."""
    if vocab == 257:
        return replace(data, tokenizer="bytes", vocab=vocab, digits="joined", spaces="runs")
    return replace(data, vocab=vocab)
