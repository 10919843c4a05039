"""T5's table 2 in miniature: which architecture learns most from the same compute, and by which objective?"""

from dataclasses import replace
from functools import partial

from scaling.config import (
    DataConfig,
    Precision,
    Prefix,
    RunConfig,
    SpanCorruption,
    TransformerConfig,
    lengths,
)
from scaling.counts import flops_per_token
from scaling.plan import Cell, Study
from scaling.sizes import sized_run
from scaling.sweeps import arm, branches, chain, round_tokens


def study(
    *,
    budgets: tuple[float, ...] = (2.5e10, 5e10, 1e11, 2e11),
    dim: int = 32,
    layers: int = 4,
    heads: int = 2,
    data: DataConfig = DataConfig(heldout_sequences=1024),
    context: int = 64,
    batch: int = 8,
    precision: Precision = "float32",
    lrs: tuple[float, ...] = (3e-3, 6e-3, 1.2e-2),
    seeds: int = 2,
) -> Study:
    """Five architectures of one width, each by denoising and by language modelling, at the same budgets.

    budgets: training FLOPs, attention and head included; all of one arm are branches of one trunk
    dim: width of every model
    layers: of the decoder, and of each side of an encoder-decoder; an even number
    heads: of the attention
    data: corpus and tokenizer; the special tokens that the objectives need are added
    context: tokens of text a sequence, the same for all, so that all are measured on the same text
    batch: sequences a step
    precision: of the compute
    lrs: peak learning rates at width 32, each tried for every arm; another width gets them times 32 / width
    seeds: of the decoder, to measure the noise
    """
    if layers % 2:
        raise ValueError(f"layers={layers}: one architecture has half of them; give an even number")
    objectives = {"denoising": SpanCorruption(text=context), "language modelling": Prefix(text=context)}
    shape = TransformerConfig(vocab=data.vocab, dim=dim, layers=layers, heads=heads, context=2 * context)
    models = _architectures(shape).values()
    specials = max(lengths(model, goal).specials for model in models for goal in objectives.values())
    data = replace(data, specials=max(data.specials, specials))

    run_of = partial(sized_run, data=data, batch=batch, precision=precision)
    arms = [
        arm(_spending(budgets, run_of(model, objective=objective, lr=lr, seed=seed)), name)
        for objective in objectives.values()
        for name, model in _architectures(replace(shape, vocab=data.total_vocab)).items()
        for lr in lrs
        for seed in range(seeds if name == "decoder" else 1)
    ]
    return Study(
        name="architectures",
        question="Which architecture learns most from the same compute, and by which objective?",
        published="Raffel et al. 2020 (arXiv:1910.10683), table 2, all trained for as many steps: by denoising the "
        "encoder-decoder is best (average GLUE 83.28), close behind it the one that shares its parameters, then the "
        "prefix language model, the one with half the layers, and far below them the decoder. Denoising beats language "
        "modelling in every architecture.",
        shows="Held-out loss at equal training FLOPs, each arm at the best of the learning rates tried. By language "
        "modelling all five predict the same tokens, the second half of each text from its first, so their losses and "
        "bits per byte compare; by denoising all fill the same gaps of the same texts.",
        cannot_show="Which objective makes the better model for other tasks: that is what the paper's table measures, "
        "by fine-tuning, and the losses of two objectives are of different tokens. Nor what a decoder gains by "
        "learning from every token: here it learns, as the others do, from the second half alone.",
        forecast_flops=10 * max(budgets, default=0.0),
        cells=chain(*arms),
    )


def _spending(budgets: tuple[float, ...], run: RunConfig) -> tuple[Cell, ...]:
    """Branches of one trunk, each as long as its budget allows."""
    cost = flops_per_token(run.model, run.objective).exact
    of_tokens = {round_tokens(budget / cost, run.batch_tokens): budget for budget in budgets}
    return tuple(replace(cell, budget=of_tokens.get(cell.run.tokens)) for cell in branches(run, list(of_tokens)))


def _architectures(decoder: TransformerConfig) -> dict[str, TransformerConfig]:
    """Table 2's five, the widest first: 2P/M, P/M, P/(M/2), P/M and P/M in parameters and cost."""
    both = replace(decoder, architecture="encoder_decoder")
    return {
        "encoder-decoder": both,
        "shared encoder-decoder": replace(both, shared_layers=True),
        "half the layers": replace(both, layers=decoder.layers // 2),
        "decoder": decoder,
        "prefix LM": replace(decoder, architecture="prefix"),
    }
