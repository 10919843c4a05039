"""Ladders of model sizes with one aspect rule, so that size and not shape explains the loss, and runs of them."""

from typing import Literal

from scaling.config import (
    DataConfig,
    NextToken,
    ObjectiveConfig,
    OptimConfig,
    Precision,
    RecurrentConfig,
    RunConfig,
    ScheduleConfig,
    TransformerConfig,
    lengths,
)
from scaling.sweeps.budgets import WARMUP_FRACTION, round_tokens

Ladder = Literal["tiny", "large"]
REFERENCE_DIM = 32  # the width at which a study states its learning rate

# Width and depth. Two layers at least: one alone cannot look back for repetitions, and a ladder that
# gains that ability half way bends. Neighbours differ by about 1.7 in total parameters (vocabulary 512).
TINY = ((8, 2), (12, 2), (16, 2), (24, 2), (32, 2), (48, 2), (64, 2), (80, 3), (112, 4), (144, 5), (192, 7))
HEAD_DIM = 16  # at most; below 32 a width is one head

# The GPT-3 ladder's shapes up to 1.3B (Brown et al. 2020, table 2.1), and steps between them.
LARGE = (
    (256, 4),
    (384, 6),
    (512, 8),
    (640, 10),
    (768, 12),
    (1024, 16),
    (1280, 20),
    (1536, 24),
    (2048, 24),
    (2560, 32),
    (4096, 32),
    (5120, 40),
)
LARGE_HEAD_DIM = 128  # tensor cores want wide heads; 64 below width 1024


def models(
    ladder: Ladder, vocab: int, context: int, *, first_size: int = 0, size_count: int | None = None
) -> list[TransformerConfig]:
    """Decoders of one ladder, smallest first.

    tiny: 5 thousand to 5 million parameters, for a laptop. large: 3 million
    to 13 billion in the body, for accelerators. first_size: place of the first
    that is taken, counted from 0. size_count: how many; None takes the rest.
    """
    shapes = TINY if ladder == "tiny" else LARGE
    last = len(shapes) if size_count is None else first_size + size_count
    if not 0 <= first_size < last <= len(shapes):
        raise ValueError(
            f"first_size={first_size}, size_count={size_count}: the {ladder} ladder has {len(shapes)} sizes, "
            "counted from 0; take at least one of them"
        )
    return [
        TransformerConfig(vocab=vocab, dim=dim, layers=layers, heads=_heads(ladder, dim), context=context)
        for dim, layers in shapes[first_size:last]
    ]


def sized_run(
    model: TransformerConfig | RecurrentConfig,
    *,
    data: DataConfig,
    batch: int,
    lr: float,
    tokens: float | None = None,
    objective: ObjectiveConfig = NextToken(),
    precision: Precision = "float32",
    seed: int = 0,
) -> RunConfig:
    """A run of a model, with the learning rate of its width.

    batch: sequences a step. lr: peak rate at width 32, see `peak_lr`. tokens:
    rounded to whole steps, with the sweeps' share of them to warm up; None is
    one step, for a sweep that decides tokens and schedule itself.
    """
    step = batch * lengths(model, objective).text
    length = step if tokens is None else round_tokens(tokens, step)
    warmup = 0 if tokens is None else round_tokens(WARMUP_FRACTION * length, step)
    return RunConfig(
        model=model,
        data=data,
        tokens=length,
        batch=batch,
        objective=objective,
        optim=OptimConfig(lr=peak_lr(lr, model.dim)),
        schedule=ScheduleConfig(warmup_tokens=warmup),
        precision=precision,
        seed=seed,
    )


def peak_lr(lr: float, dim: int) -> float:
    """Peak learning rate of a width, `lr` being that of width 32: lr 32/dim.

    muP's rule for Adam (Yang et al. 2022, arXiv:2203.03466). Of four rates a
    factor 2 apart, tried at widths 8, 16, 32 and 64 with 256 tokens a step,
    6e-3 at width 32 gave by this rule the best, or the best's neighbour.
    """
    return lr * REFERENCE_DIM / dim


def _heads(ladder: Ladder, dim: int) -> int:
    if ladder == "tiny":
        return max(1, dim // HEAD_DIM)
    return dim // (LARGE_HEAD_DIM if dim >= 1024 else LARGE_HEAD_DIM // 2)
