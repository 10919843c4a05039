"""How many parameters one device of a layout holds, and how many it computes with."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from scaling.config import ModelConfig, ObjectiveConfig, ReplacedTokens, TransformerConfig
from scaling.counts.parameters import params
from scaling.parallel.layout import Layout
from scaling.parallel.shapes import Leaf, leaves


class Share(NamedTuple):
    """Parameters of one device."""

    held: int  # at rest
    whole: int  # that it computes with
    gathered_layers: int = 0  # of these, what is gathered over `fsdp` layer by layer
    gathered_ends: int = 0  # and what is gathered beside the layers: embedding, head, positions


@cache
def share(model: ModelConfig, objective: ObjectiveConfig, layout: Layout) -> Share:
    """By the sharding tables; of models that are only copied, everything."""
    if not isinstance(model, TransformerConfig) or isinstance(objective, ReplacedTokens):
        total = params(model, objective).total
        return Share(held=total, whole=total)

    def whole(belongs: Callable[[Leaf], bool]) -> int:
        """Once the parts of all devices of `fsdp` are gathered."""
        return sum(leaf.elements_of_device(layout, but=("fsdp",)) for leaf in leaves(model) if belongs(leaf))

    return Share(
        held=sum(leaf.elements_of_device(layout) for leaf in leaves(model)),
        whole=whole(lambda leaf: True),
        gathered_layers=whole(lambda leaf: leaf.is_layer and "fsdp" in leaf.axes(layout)),
        gathered_ends=whole(lambda leaf: not leaf.is_layer and "fsdp" in leaf.axes(layout)),
    )
