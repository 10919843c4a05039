"""How many parameters one device of a layout holds, and how many it computes with."""

from functools import cache
from typing import NamedTuple

from scaling.config import ModelConfig, ObjectiveConfig, ReplacedTokens, TransformerConfig
from scaling.counts import weights
from scaling.counts.parameters import params
from scaling.parallel.layout import Layout


class Group(NamedTuple):
    """Parameters that the same mesh axes divide; see `scaling.parallel.tables`."""

    count: int  # of the whole model
    axes: tuple[str, ...]
    in_layers: bool = False

    def held(self, layout: Layout) -> int:
        """At rest."""
        return -(-self.count // layout.ways(*self.axes))

    def whole(self, layout: Layout) -> int:
        """Once the parts of all devices of `fsdp` are gathered."""
        return -(-self.count // layout.ways(*(axis for axis in self.axes if axis != "fsdp")))


class Share(NamedTuple):
    """Parameters of one device."""

    held: int  # at rest
    whole: int  # that it computes with
    layers: int  # of these, in layers
    gathered_layers: int  # of these, what is gathered over `fsdp` layer by layer
    gathered_ends: int  # and what is gathered beside the layers: embedding, head, positions


@cache
def share(model: ModelConfig, objective: ObjectiveConfig, layout: Layout) -> Share:
    found = groups(model, objective)
    gathered = [group for group in found if layout.fsdp > 1 and "fsdp" in group.axes]
    return Share(
        held=sum(group.held(layout) for group in found),
        whole=sum(group.whole(layout) for group in found),
        layers=sum(group.whole(layout) for group in found if group.in_layers),
        gathered_layers=sum(group.whole(layout) for group in gathered if group.in_layers),
        gathered_ends=sum(group.whole(layout) for group in gathered if not group.in_layers),
    )


@cache
def groups(model: ModelConfig, objective: ObjectiveConfig) -> tuple[Group, ...]:
    """All parameters by what divides them.

    Vectors (norms and biases) lie in the layers all but a few; that `tensor`
    divides some of the biases is left out.
    """
    total = params(model, objective).total
    if not isinstance(model, TransformerConfig) or isinstance(objective, ReplacedTokens):
        return (Group(total, ()),)
    matrices, table = weights.matrices(model), model.vocab * model.dim
    experts, routers = weights.experts(model), weights.routers(model)
    square = model.dim**2 * (model.head_transform + model.sentence_head)
    known = (
        Group(experts, ("fsdp", "expert", "pipe", "tensor"), in_layers=True),
        Group(matrices.attention + matrices.mlp - experts - routers, ("fsdp", "pipe", "tensor"), in_layers=True),
        Group(routers, ("fsdp", "pipe"), in_layers=True),
        Group(table if model.tied else 2 * table, ("fsdp", "pipe", "tensor")),
        Group(params(model, objective).embedding - table + square, ("fsdp",)),
    )
    return (*known, Group(total - sum(group.count for group in known), ("pipe",), in_layers=True))
