"""Kaplan's figure 7: does an LSTM use a long context as a transformer does?"""

from dataclasses import replace
from functools import partial

from scaling.config import DataConfig, ModelConfig, NgramConfig, OptimConfig, Precision, RecurrentConfig
from scaling.counts import params
from scaling.plan import Cell, Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import chain, costliest


def study(
    *,
    tokens: float = 1.5e6,
    first_size: int = 1,
    size_count: int = 5,
    sizes: Ladder = "tiny",
    lstm_layers: int = 2,
    order: int = 5,
    data: DataConfig = DataConfig(heldout_sequences=512),
    context: int = 256,
    batch: int = 4,
    precision: Precision = "float32",
    lr: float = 1.2e-2,
    lstm_lr: float = 6.4e-2,
    seeds: int = 2,
) -> Study:
    """Transformers and LSTMs of the same sizes on the same tokens, with an n-gram model beside them.

    tokens: that every model sees
    first_size: place in the ladder of the smallest transformer, counted from 0
    size_count: transformers; each has an LSTM of nearly as many parameters
    sizes: ladder of models, 5 thousand to 5 million or 3 million to 13 billion parameters
    lstm_layers: recurrent layers, in every LSTM
    order: of the n-gram model; 0 leaves it out
    data: corpus and tokenizer
    context: tokens a sequence
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate of a transformer of width 32; other widths get lr * 32 / width
    lstm_lr: the same for the LSTMs, by their own width
    seeds: of the smallest transformer and LSTM, to measure the noise

    The two rates were the best of those tried a factor 2 apart at 40 thousand
    parameters: 6e-3 and 1.2e-2 for the transformer, 3.2e-2 to 1.28e-1 for the LSTM.
    """
    ladder = models(sizes, data.total_vocab, context, first_size=first_size, size_count=size_count)
    run_of = partial(sized_run, data=data, batch=batch, tokens=tokens, precision=precision)
    cells = []
    for index, model in enumerate(ladder):
        twin = _lstm_like(model, lstm_layers)
        for seed in range(seeds if index == 0 else 1):
            cells.append(Cell(run=run_of(model, lr=lr, seed=seed), arm="transformer"))
            cells.append(Cell(run=run_of(twin, lr=lstm_lr, seed=seed), arm="LSTM"))
    if order:
        counts = NgramConfig(vocab=data.total_vocab, order=order, context=context)
        run = replace(cells[0].run, model=counts, optim=OptimConfig())  # on the same tokens; it has no learning rate
        cells.append(Cell(run=run, arm=f"{order}-gram"))
    return Study(
        name="lstm",
        question="Does an LSTM use a long context as a transformer of its size does?",
        published="Kaplan et al. 2020 (arXiv:2001.08361), section 3.2.1 and figure 7: LSTMs do as well as transformers "
        "for tokens early in the context and cannot match them for later ones; the LSTMs' loss stops improving after "
        "fewer than 100 tokens, the transformers' goes on falling through the whole context.",
        shows="Loss against size, and by a token's place in its sequence, on the same tokens with the same optimizer.",
        cannot_show="How far either falls when it is trained to the end: the paper trains to convergence on many more "
        "tokens than a model of this size has here, and the use of a long context is what a model learns last.",
        forecast_flops=10 * costliest(cells),
        cells=chain(cells),
    )


def _lstm_like(model: ModelConfig, layers: int) -> RecurrentConfig:
    """The LSTM whose parameters, embedding included, are nearest to a model's."""
    step = max(2, model.dim // 16)  # even, and of large widths a number that accelerators like
    widths = range(step, 4 * model.dim + step, step)
    every = [RecurrentConfig(vocab=model.vocab, dim=dim, layers=layers, context=model.context) for dim in widths]
    goal = params(model).total
    return min(every, key=lambda lstm: abs(params(lstm).total - goal))
