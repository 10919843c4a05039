"""What are repeated tokens worth?"""

from dataclasses import replace

from scaling.config import DataConfig, OptimConfig, Precision, RunConfig, TransformerConfig
from scaling.counts import train_flops
from scaling.plan import Study
from scaling.sizes import Ladder, models, peak_lr
from scaling.sweeps import Sweep, arm, branches, chain, round_tokens


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
    ladder = models(sizes, data.total_vocab, context)[first_size:][:size_count]
    if len(ladder) < size_count or not ladder:
        raise ValueError(f"first_size={first_size}, size_count={size_count}: the {sizes} ladder ends before that")
    step = batch * context

    def run_of(model: TransformerConfig, read: DataConfig, seed: int) -> RunConfig:
        optim = OptimConfig(lr=peak_lr(lr, model.dim))
        return RunConfig(model=model, data=read, tokens=step, batch=batch, optim=optim, precision=precision, seed=seed)

    def horizons(tokens: float) -> list[int]:
        found = {round_tokens(passes * tokens, step) for passes in epochs}
        return sorted(length for length in found if length <= longest)

    def limited(tokens: int) -> Sweep:
        read = replace(data, most_tokens=tokens, max_epochs=max(data.max_epochs, 2 * max(epochs)))
        runs = [
            branches(run_of(model, read, seed), horizons(tokens))
            for place, model in enumerate(ladder)
            for seed in range(seeds if place == 0 and tokens == least else 1)
        ]
        return arm(chain(*runs), f"{tokens:,} different tokens")

    # Whole steps, so that a horizon is a whole number of passes.
    limits = [round_tokens(tokens, step) for tokens in unique]
    least = min(limits, default=0)
    lengths = sorted({length for tokens in limits for length in horizons(tokens)})
    fresh = arm(chain(*(branches(run_of(model, data, 0), lengths) for model in ladder)), "new tokens")
    planned = chain(fresh, *(limited(tokens) for tokens in limits))
    largest = max((train_flops(cell.run.model, cell.run.tokens).exact for cell in planned), default=0.0)
    return Study(
        name="data_constrained",
        question="What are tokens worth that are read again, and how often does reading them pay?",
        published="Muennighoff et al. 2023 (arXiv:2305.16264): up to four epochs repeated tokens are worth about as "
        "much as new ones; their worth falls off with R_D = 15.4 repetitions, and beyond some 40 epochs it is nothing.",
        shows="Held-out loss against tokens, different tokens and parameters, on both sides of the number of epochs at "
        "which repeating stops to pay; scaling laws in `tokens` and `tokens_unique` can be fitted to it.",
        cannot_show="The R_D of large models: how fast a model learns its text by heart depends on its size and on the "
        "text, and these models are a hundred thousand times smaller.",
        forecast_flops=10 * largest,
        cells=planned,
    )
