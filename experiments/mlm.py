"""Do masked language models want more parameters, and fewer tokens, than causal ones as compute grows?"""

from dataclasses import replace
from functools import partial

from scaling.config import DataConfig, Masked, NextToken, ObjectiveConfig, Precision, TransformerConfig, lengths
from scaling.plan import Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import Sweep, arm, chain, isoflop, repeated


def study(
    *,
    budgets: tuple[float, ...] = (1.6e10, 5e10, 1.6e11, 5e11),
    sizes_per_budget: int = 5,
    sizes: Ladder = "tiny",
    tokens_per_param: float = 20.0,
    masked_tokens_per_param: float = 80.0,
    rate: float = 0.15,
    data: DataConfig = DataConfig(heldout_sequences=1024),
    context: int = 64,
    batch: int = 4,
    precision: Precision = "float32",
    lr: float = 6e-3,
    masked_lr: float = 6e-3,
    seeds: int = 2,
) -> Study:
    """IsoFLOP curves of decoders by the next token, and of encoders of the same shapes by masked tokens.

    budgets: training FLOPs of each isoFLOP curve, attention and head included
    sizes_per_budget: models on each curve
    sizes: ladder of models, 5 thousand to 5 million or 3 million to 13 billion parameters
    tokens_per_param: about which the decoders' sizes are centred
    masked_tokens_per_param: the same for the encoders
    rate: share of the tokens that are masked
    data: corpus and tokenizer; the special tokens that masking needs are added
    context: tokens of text a sequence, the same for both
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate of a decoder of width 32; other widths get lr * 32 / width
    masked_lr: the same for the encoders
    seeds: on two cells of each arm's smallest budget, to measure the noise
    """
    causal, masked = NextToken(text=context), Masked(text=context, rate=rate)
    longest = context + 2  # an encoder reads its text between two special tokens
    data = replace(data, specials=max(data.specials, _specials(masked, longest)))
    decoders = models(sizes, data.total_vocab, longest)
    encoders = [replace(model, architecture="encoder") for model in decoders]

    def cells_of(ladder: list[TransformerConfig], objective: ObjectiveConfig, rate: float, ratio: float) -> Sweep:
        run_of = partial(sized_run, data=data, batch=batch, lr=rate, objective=objective, precision=precision)
        cells = isoflop(run_of, ladder, budgets, sizes_per_budget=sizes_per_budget, tokens_per_param=ratio)
        return chain(cells, repeated(cells, range(1, seeds)))

    return Study(
        name="mlm",
        question="Do masked language models want more parameters, and fewer tokens, than causal ones as compute grows?",
        published="Cheng et al. 2024 (arXiv:2411.02142), on proteins: the best size grows as C^0.776 by masked and as "
        "C^0.578 by causal language modelling.",
        shows="The exponent of the best size by isoFLOP minima, for encoders and decoders of the same shapes, on the "
        "same text, with compute counted for what each computes.",
        cannot_show="Which of the two is the better model: their losses are of different tokens, and no bits per byte "
        "can be given for tokens that are told from both sides. Nor the exponents of large models: the smallest masked "
        "models learn little more than how frequent each token is.",
        forecast_flops=10 * max(budgets, default=0.0),
        cells=chain(
            arm(cells_of(decoders, causal, lr, tokens_per_param), "decoder, next token"),
            arm(cells_of(encoders, masked, masked_lr, masked_tokens_per_param), "encoder, masked"),
        ),
    )


def _specials(objective: Masked, context: int) -> int:
    """Special tokens that an encoder needs, whatever its size."""
    encoder = TransformerConfig(vocab=257, dim=8, layers=1, heads=1, context=context, architecture="encoder")
    return lengths(encoder, objective).specials
