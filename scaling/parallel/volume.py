"""What a training step makes a device send, by mesh axis, in bytes: an account for planning, without JAX.

Of collectives over n devices a ring sends (n - 1) / n of what is gathered or
scattered, twice that of what is summed, and n - 1 parts of what goes round
(Patarasuk & Yuan 2009). A sum over several axes is booked on the first of
them: the slowest link decides. Left out are integers and numbers one a token.

Letters: M tokens of a microbatch on a device (all of `tensor`'s), D width.
"""

from scaling.config import ReplacedTokens, RunConfig, TransformerConfig
from scaling.counts.activations import WIDTHS, slots_for
from scaling.counts.divided import Group, groups, share
from scaling.counts.sides import Side, sides
from scaling.parallel.layout import Layout


def axis_bytes(run: RunConfig, layout: Layout) -> dict[str, float]:
    """Bytes that a device sends in one step over each axis that has several devices."""
    sent = dict.fromkeys(layout.axes, 0.0)
    _add_gradients(sent, run, layout)
    if not isinstance(run.model, TransformerConfig) or isinstance(run.objective, ReplacedTokens):
        return sent
    if layout.fsdp > 1:
        sent["fsdp"] += _weights_over_fsdp(run, layout)
    stacks = sides(run.model, run.objective)
    sequences = run.batch // layout.batch_ways // layout.microbatches
    for side in stacks:
        _add_layers(sent, run, run.model, side, sequences, layout)
        _add_ends(sent, run, run.model, side, sequences, layout)
    return sent


def _add_gradients(sent: dict[str, float], run: RunConfig, layout: Layout) -> None:
    """Summed in float32 over the devices that hold the same parameters."""
    for group in groups(run.model, run.objective):
        over = [axis for axis in layout.axes if axis not in group.axes]
        if over:
            sent[over[0]] += 2 * _share(layout, *over) * 4 * group.held(layout)


def _weights_over_fsdp(run: RunConfig, layout: Layout) -> float:
    """Gathered, and their gradients scattered in float32.

    With zero=3 for every microbatch, and once more where a block is computed
    again; a pipeline gathers its layers once. With zero=2 gradients are
    scattered for every microbatch.
    """
    own, width, passes = share(run.model, run.objective, layout), WIDTHS[run.precision], layout.microbatches
    gathered = own.gathered_layers + own.gathered_ends
    if layout.pipe > 1:
        passes = 1
    if layout.zero == 3:
        again = own.gathered_layers if layout.remat == "block" and layout.pipe == 1 else 0
        volume = passes * (width * (gathered + again) + 4 * gathered)
    else:
        volume = 4 * gathered * (1 + (passes if layout.zero == 2 else 1))
    return _share(layout, "fsdp") * volume


def _add_layers(
    sent: dict[str, float], run: RunConfig, model: TransformerConfig, side: Side, sequences: int, layout: Layout
) -> None:
    """What blocks send, forward and backward, and again where they are computed again."""
    width, forwards = WIDTHS[run.precision], computed_forward(layout)
    tokens, source = (sequences * length // layout.context for length in (side.positions, side.source))
    both = (forwards + 1) * width
    # A stage computes its layers at every tick, idle or not.
    passes = layout.ticks / (layout.pipe * layout.repeats) if layout.pipe > 1 else layout.microbatches
    layers, with_experts = side.layers, sum(model.has_experts(layer) for layer in range(side.layers))
    if layout.tensor > 1:
        branches = layers * (3 if side.source else 2) - (with_experts if model.moe and not model.moe.shared else 0)
        gathered_and_scattered = 2 * branches * tokens * model.dim
        sent["tensor"] += passes * _share(layout, "tensor") * both * gathered_and_scattered
    if layout.context > 1:
        keys = 2 * (tokens + source) * model.key_heads // layout.tensor * model.head_dim
        # Round the ring; backward also the float32 sums of their gradients.
        sent["context"] += passes * layers * (layout.context - 1) * keys * (both + 4)
    if layout.expert > 1:
        rows = slots_for(model, tokens // layout.tensor, layout)
        sent["expert"] += passes * with_experts * _share(layout, "expert") * both * 2 * rows * model.dim
    if layout.tensor > 1 and model.moe is not None:
        sent["tensor"] += _expert_weights(run, side, forwards, layout)
    if layout.pipe > 1:
        # At every tick forward, and the gradient back.
        sent["pipe"] += 2 * layout.ticks * tokens // layout.tensor * model.dim * width


def _expert_weights(run: RunConfig, side: Side, forwards: int, layout: Layout) -> float:
    """Routed experts are gathered over `tensor`, and their gradients scattered in float32."""
    experts: Group = groups(run.model, run.objective)[0]
    times = layout.ticks / layout.repeats if layout.pipe > 1 else layout.microbatches
    of_side = side.layers / sum(other.layers for other in sides(run.model, run.objective))
    whole = experts.count / layout.ways("expert", "pipe") * of_side
    return times * _share(layout, "tensor") * whole * (WIDTHS[run.precision] * forwards + 4)


def _add_ends(
    sent: dict[str, float], run: RunConfig, model: TransformerConfig, side: Side, sequences: int, layout: Layout
) -> None:
    """Embeddings, of which every device of `pipe` and `tensor` finds some, and states for the head; and gradients."""
    passing = sequences * layout.microbatches * side.positions // layout.context * model.dim * WIDTHS[run.precision]
    if layout.tensor > 1:
        sent["tensor"] += 4 * _share(layout, "tensor") * passing
    if layout.pipe > 1:
        sent["pipe"] += 4 * 2 * _share(layout, "pipe") * passing / layout.tensor


def computed_forward(layout: Layout) -> int:
    """How often a block's forward pass is computed: again for each tick of a pipeline, and for each block."""
    return 1 + (layout.pipe > 1) + (layout.remat == "block")


def _share(layout: Layout, *axes: str) -> float:
    ways = layout.ways(*axes)
    return (ways - 1) / ways
