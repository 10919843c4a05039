"""Does the best learning rate of a narrow model hold for a wide one: standard parametrisation against muP."""

from dataclasses import replace
from functools import partial

from scaling.config import (
    DataConfig,
    OptimConfig,
    Parametrisation,
    Precision,
    RunConfig,
    ScheduleConfig,
    TransformerConfig,
)
from scaling.coordinates import wider
from scaling.plan import Cell, Study
from scaling.sizes import HEAD_DIM
from scaling.sweeps import chain, costliest, round_tokens

LEAST_RANGE = 8  # widest over narrowest: over less, an optimum that moves can hide between two rates


def study(
    *,
    widths: tuple[int, ...] = (16, 32, 64, 128),
    base_dim: int = 64,
    layers: int = 2,
    lrs: tuple[float, ...] = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
    tokens: float = 256e3,
    warmup_fraction: float = 0.1,
    data: DataConfig = DataConfig(heldout_sequences=1024),
    context: int = 64,
    batch: int = 8,
    precision: Precision = "float32",
    seeds: int = 1,
) -> Study:
    """Every width at every learning rate, twice: all parameters at one rate, and by muP.

    widths: narrowest first, multiples of 16, the size of a head; the widest at least 8 times the narrowest
    base_dim: the width at which both parametrisations are one model
    layers: of every model
    lrs: peak learning rates, the same for all widths
    tokens: of every run
    warmup_fraction: of the tokens
    data: corpus and tokenizer
    context: tokens a sequence
    batch: sequences a step
    precision: of the compute
    seeds: of every run
    """
    _check(widths)
    heads = widths[0] // HEAD_DIM
    base = TransformerConfig(vocab=data.total_vocab, dim=widths[0], layers=layers, heads=heads, context=context)
    arms = {"standard": Parametrisation(), "muP": Parametrisation(width="mup", base_dim=base_dim)}
    length = round_tokens(tokens, batch * context)
    schedule = ScheduleConfig(kind="linear", warmup_tokens=round_tokens(warmup_fraction * length, batch * context))

    run_of = partial(RunConfig, data=data, tokens=length, batch=batch, schedule=schedule, precision=precision)

    def cell(arm: str, width: int, lr: float, seed: int) -> Cell:
        model = replace(wider(base, width), parametrisation=arms[arm])
        return Cell(run=run_of(model=model, optim=OptimConfig(lr=lr), seed=seed), arm=arm)

    cells = chain(cell(arm, width, lr, seed) for arm in arms for width in widths for lr in lrs for seed in range(seeds))
    return Study(
        name="mup",
        question="Does the learning rate that is best for a narrow model stay best as it grows wider?",
        published="Yang et al. 2022 (arXiv:2203.03466), figure 1: of transformers of width 128 to 8192, in the "
        "standard parametrisation each width has another best rate and wider is not always better; in muP one rate is "
        "best for all, and wider is better.",
        shows="Loss against the peak learning rate at each width, by both parametrisations; at the base width they are "
        "one model.",
        cannot_show="How far the rate carries to other depths, batches and horizons, which muP does not promise. Short "
        "runs of small models; rates a factor of two apart.",
        forecast_flops=10 * costliest(cells),
        cells=cells,
    )


def _check(widths: tuple[int, ...]) -> None:
    if len(widths) < 2 or widths[-1] < LEAST_RANGE * widths[0] or any(width % HEAD_DIM for width in widths):
        raise ValueError(
            f"widths={widths}: give multiples of {HEAD_DIM}, narrowest first, that span a factor of {LEAST_RANGE}"
        )
