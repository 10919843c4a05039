"""Ladders of model sizes with one aspect rule, so that size and not shape explains the loss."""

from typing import Literal

from scaling.config import TransformerConfig

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


def models(ladder: Ladder, vocab: int, context: int) -> list[TransformerConfig]:
    """Decoders of one ladder, smallest first.

    tiny: 5 thousand to 5 million parameters, for a laptop. large: 3 million
    to 13 billion in the body, for accelerators.
    """
    shapes = TINY if ladder == "tiny" else LARGE
    return [
        TransformerConfig(vocab=vocab, dim=dim, layers=layers, heads=_heads(ladder, dim), context=context)
        for dim, layers in shapes
    ]


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
