"""What are experts worth: mixtures against dense decoders of equal active parameters and compute."""

from dataclasses import replace
from functools import partial

from scaling.config import DataConfig, Experts, Precision, TransformerConfig
from scaling.counts import flops_per_token, params
from scaling.plan import Cell, Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import chain


def study(
    *,
    expansions: tuple[int, ...] = (2, 4, 8),
    granularity: int = 2,
    tokens_per_param: float = 20.0,
    first_size: int = 1,
    size_count: int = 5,
    sizes: Ladder = "tiny",
    data: DataConfig = DataConfig(heldout_sequences=1024),
    context: int = 64,
    batch: int = 8,
    precision: Precision = "float32",
    lr: float = 6e-3,
    seeds: int = 2,
) -> Study:
    """Dense decoders, and mixtures whose active experts are together as wide as the dense MLP, at equal FLOPs.

    expansions: of the mixtures, how many times the MLP's parameters all experts hold together
    granularity: experts that a token visits, each so many times narrower than the dense MLP; 1 is Switch
    tokens_per_param: of training, for every parameter of the dense model
    first_size: place in the ladder of the smallest model, counted from 0
    size_count: sizes of each arm
    sizes: ladder of models, 5 thousand to 5 million or 3 million to 13 billion parameters
    data: corpus and tokenizer
    context: tokens a sequence
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate at width 32; other widths get lr * 32 / width
    seeds: of the two smallest sizes of each arm, to measure the noise
    """
    ladder = models(sizes, data.total_vocab, context, first_size=first_size, size_count=size_count)
    run_of = partial(sized_run, data=data, batch=batch, lr=lr, precision=precision)
    budgets = [tokens_per_param * params(dense).total * flops_per_token(dense).exact for dense in ladder]
    cells = []
    for index, (dense, budget) in enumerate(zip(ladder, budgets, strict=True)):
        arms = {"dense": dense} | {
            f"{expansion * granularity} experts, top {granularity}": _mixture(dense, expansion, granularity)
            for expansion in expansions
        }
        for name, model in arms.items():
            tokens = budget / flops_per_token(model).exact
            for seed in range(seeds if index < 2 else 1):
                cells.append(Cell(run=run_of(model, tokens=tokens, seed=seed), arm=name))
    return Study(
        name="moe",
        question="What are experts worth: how much compute does a dense decoder need for the loss of a mixture?",
        published="Krajewski et al. 2024 (arXiv:2402.07871): mixtures beat dense models at every budget, and by more "
        "the larger it is. Clark et al. 2022 (arXiv:2202.01169): each doubling of the experts lowers the loss by "
        "less, and by less in larger models.",
        shows="Loss at equal training FLOPs and nearly equal active parameters, against active and against all "
        "parameters, with the router's losses left out of what is compared.",
        cannot_show="Memory and time: a mixture holds all its experts, and on small widths sorting tokens to experts "
        "costs more than their products. With so small an MLP beside embedding and head an expert adds little.",
        forecast_flops=10 * budgets[-1],
        cells=chain(cells),
    )


def _mixture(dense: TransformerConfig, expansion: int, granularity: int) -> TransformerConfig:
    if expansion < 2 or granularity < 1:
        raise ValueError(
            f"expansion={expansion}, granularity={granularity}: a mixture holds at least twice the active experts, "
            "and a token visits at least one"
        )
    width = max(1, round(dense.hidden_dim / granularity))
    return replace(dense, moe=Experts(experts=expansion * granularity, active=granularity, dim=width))
