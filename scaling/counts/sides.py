"""What each stack of a transformer computes of one sequence: positions, and the keys that they see."""

from dataclasses import dataclass
from typing import Literal

from scaling.config import ObjectiveConfig, TransformerConfig, lengths

Causal = Literal["full", "half"]


@dataclass(frozen=True, kw_only=True)
class Side:
    """An encoder or a decoder at work on one sequence."""

    layers: int
    positions: int  # T
    causal: bool
    source: int = 0  # S, positions that cross-attention reads; 0 without
    prefix: int = 0  # first positions that every position sees

    def pairs(self, window: int | None, causal: Causal) -> int:
        """Pairs of query and key in one layer. "full": the whole square; "half": those that are seen."""
        if causal == "full":
            return self.positions**2
        width = self.positions if window is None else min(window, self.positions)
        back = _triangle(self.positions, width)
        if not self.causal:
            return 2 * back - self.positions
        # Within the prefix also what lies ahead, and from everywhere what a window would hide of the prefix.
        return back + _triangle(self.prefix - 1, self.prefix) + _triangle(self.positions - width, self.prefix)


def sides(model: TransformerConfig, objective: ObjectiveConfig) -> tuple[Side, ...]:
    """The stacks at work, the encoder first. Raises ValueError where the model cannot learn the objective."""
    found = lengths(model, objective)
    if model.architecture == "encoder":
        return (Side(layers=model.layers, positions=found.positions, causal=False),)
    if model.architecture == "encoder_decoder":
        return (
            Side(layers=model.depth_of_encoder, positions=found.source, causal=False),
            Side(layers=model.layers, positions=found.positions, causal=True, source=found.source),
        )
    # Source and target stand in one line, the last target is never read: the rest is the prefix.
    prefix = found.positions - found.predicted + 1 if model.architecture == "prefix" else 0
    return (Side(layers=model.layers, positions=found.positions, causal=True, prefix=prefix),)


def _triangle(count: int, width: int) -> int:
    """The sum of min(i, width) for i from 1 to count; 0 where either is negative."""
    count, width = max(0, count), max(0, width)
    full = min(count, width)
    return full * (full + 1) // 2 + (count - full) * width
