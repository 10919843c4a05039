"""What are repeated tokens worth?"""

from dataclasses import replace
from functools import partial

from scaling.config import DataConfig, Precision
from scaling.plan import Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import Sweep, arm, branches, chain, costliest, round_tokens


def study(
    *,
    unique: tuple[float, ...] = (2e4, 8e4, 3.2e5),
    epochs: tuple[float, ...] = (1, 2, 4, 8, 16, 32),
    longest: float = 2.56e6,
    first_size: int = 1,
    size_count: int = 4,
    sizes: Ladder = "tiny",
    data: DataConfig = DataConfig(heldout_sequences=1024),
    context: int = 64,
    batch: int = 4,
    precision: Precision = "float32",
    lr: float = 6e-3,
    seeds: int = 2,
) -> Study:
    """Every size on every number of different tokens, each read more and more often, and once what is new each time.

    unique: tokens of the training text that a run may read, drawn at random
    epochs: passes over them
    longest: longer runs are left out; so many new ones are read by the arm that repeats nothing
    first_size: place in the ladder of the smallest model, counted from 0
    size_count: models
    sizes: ladder of models, 5 thousand to 5 million or 3 million to 13 billion parameters
    data: corpus and tokenizer
    context: tokens a sequence
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate at width 32; other widths get lr * 32 / width
    seeds: of the smallest size on the fewest tokens, to measure the noise
    """
    ladder = models(sizes, data.total_vocab, context, first_size=first_size, size_count=size_count)
    run_of = partial(sized_run, batch=batch, lr=lr, precision=precision)
    step = batch * context

    # Whole steps, so that a horizon is a whole number of passes.
    limits = [round_tokens(tokens, step) for tokens in unique]
    horizons = {tokens: _horizons(tokens, epochs, longest, step) for tokens in limits}

    def limited(tokens: int) -> Sweep:
        read = replace(data, most_tokens=tokens, max_epochs=max(data.max_epochs, 2 * max(epochs)))
        first, *others = (run_of(model, data=read) for model in ladder)
        again = range(1, seeds if tokens == min(limits) else 1)
        runs = [first, *(replace(first, seed=seed) for seed in again), *others]
        return arm(chain(*(branches(run, horizons[tokens]) for run in runs)), f"{tokens:,} different tokens")

    lengths = sorted(set().union(*horizons.values()))
    fresh = arm(chain(*(branches(run_of(model, data=data), lengths) for model in ladder)), "new tokens")
    planned = chain(fresh, *(limited(tokens) for tokens in limits))
    return Study(
        name="data_constrained",
        question="What are tokens worth that are read again, and how often does reading them pay?",
        published="Muennighoff et al. 2023 (arXiv:2305.16264): up to four epochs repeated tokens are worth about as "
        "much as new ones; their worth falls off with R_D = 15.4 repetitions, and beyond some 40 epochs it is nothing.",
        shows="Held-out loss against tokens, different tokens and parameters, on both sides of the number of epochs at "
        "which repeating stops to pay; scaling laws in `tokens` and `tokens_unique` can be fitted to it.",
        cannot_show="The R_D of large models: how fast a model learns its text by heart depends on its size and on the "
        "text, and these models are a hundred thousand times smaller.",
        forecast_flops=10 * costliest(planned),
        cells=planned,
    )


def _horizons(tokens: int, epochs: tuple[float, ...], longest: float, step: int) -> list[int]:
    """So many passes over the tokens, without those that are too long."""
    found = {round_tokens(passes * tokens, step) for passes in epochs}
    return sorted(length for length in found if length <= longest)
