"""What a training step keeps of a sequence from its forward pass for its backward pass, nothing recomputed.

There are two ways to count:

  flash  as on accelerators with flash attention: a product keeps its input, a
         norm and an activation what its derivative needs, and attention one
         number a head and position in place of its weights
  CPU    the buffers that XLA's CPU compiler was found to keep: the steps
         between as well, and of `models.attention_cpu` the weights of every
         block and its copies of keys and values

Numbers are counted; bytes are made of them at the end.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from scaling.config import (
    Lengths,
    Masked,
    ModelConfig,
    NgramConfig,
    ObjectiveConfig,
    RecurrentConfig,
    ReplacedTokens,
    SkipGram,
    TransformerConfig,
    Word2VecConfig,
    lengths,
)
from scaling.config.generator import generator
from scaling.config.precision import WIDTHS, Precision
from scaling.counts.parameters import NEXT_TOKEN
from scaling.counts.recurrent import GATES
from scaling.counts.sides import Side, sides
from scaling.counts.work import word_places
from scaling.parallel.layout import ALONE, Layout

QUERIES = 64  # that `models.attention_cpu` computes together; two blocks at least
LARGEST_VISIT_BLOCK = 64  # rows that `models.grouped` multiplies together on a CPU
# Vectors of an MLP's width that are kept: on a CPU every step of the activation, else what products and gate read.
STEPS_CPU = {"swiglu": 5, "geglu": 5, "gelu": 3, "gelu_exact": 3, "relu": 2}


class Block(NamedTuple):
    """Of attention on a CPU."""

    queries: int
    keys: int  # that are computed for them


class Kept(NamedTuple):
    """Numbers kept of one sequence."""

    narrow: int = 0  # in the precision of the compute
    wide: int = 0  # in float32 whatever the precision; on a CPU, whose products take float32, also all that they read

    @classmethod
    def sum(cls, parts: Iterable["Kept"]) -> "Kept":
        parts = list(parts)
        return cls(sum(part.narrow for part in parts), sum(part.wide for part in parts))


class Parts(NamedTuple):
    """Numbers that one device keeps of one sequence, by where they come from."""

    layers: tuple[Kept, ...]
    ends: Kept  # before and after the layers
    logits: Kept
    inputs: int = 0  # of one layer: the residual stream between blocks, in the precision of the compute


def activation_bytes(
    model: ModelConfig, objective: ObjectiveConfig, *, precision: Precision, fused_attention: bool
) -> int:
    """Bytes that are kept of one sequence. fused_attention: count as on an accelerator with flash attention."""
    found = parts(model, objective, fused_attention)
    return in_bytes(Kept.sum([*found.layers, found.ends, found.logits]), precision)


def in_bytes(kept: Kept, precision: Precision) -> int:
    return WIDTHS[precision] * kept.narrow + 4 * kept.wide


@cache
def parts(model: ModelConfig, objective: ObjectiveConfig, fused: bool, layout: Layout = ALONE) -> Parts:
    """What one device keeps of one sequence, of all layers of the model: which of them are its own is not asked.

    layout: its axes context, tensor and expert divide; so do pipe and tensor the vocabulary.
    """
    nothing = Kept()
    if isinstance(model, NgramConfig):
        return Parts((), nothing, nothing)
    if isinstance(model, Word2VecConfig):
        return Parts((), _word_vectors(model, objective), nothing)
    if isinstance(model, RecurrentConfig):
        found = lengths(model, objective)
        return Parts((), _recurrent(model, found), Kept(wide=2 * model.vocab * found.predicted))
    if isinstance(objective, ReplacedTokens):
        return Parts((), _detector(model, objective, fused), nothing)
    return _transformer(model, sides(model, objective), lengths(model, objective).predicted, fused, layout)


def activation_bytes_per_token(
    model: ModelConfig,
    objective: ObjectiveConfig = NEXT_TOKEN,
    *,
    precision: Precision = "float32",
    fused_attention: bool = False,
) -> float:
    """The same a token of text."""
    whole = activation_bytes(model, objective, precision=precision, fused_attention=fused_attention)
    return whole / lengths(model, objective).text


def _transformer(
    model: TransformerConfig, stacks: tuple[Side, ...], predicted: int, fused: bool, layout: Layout = ALONE
) -> Parts:
    in_place = predicted == stacks[-1].positions  # else the targets of a sequence stay together
    targets = _part(predicted, layout.context) if in_place else predicted
    stacks = tuple(
        replace(side, positions=_part(side.positions, layout.context), source=_part(side.source, layout.context))
        for side in stacks
    )
    positions = sum(side.positions for side in stacks)
    streamed = _part(model.dim * positions, layout.tensor)
    transform = 5 * model.dim * targets if model.head_transform else 0
    return Parts(
        layers=tuple(_layer(model, side, layer, fused, layout) for side in stacks for layer in range(side.layers)),
        ends=Kept(streamed + model.dim * positions + transform),  # what the last norm reads and returns
        # And their exponentials, or their gradient.
        logits=Kept(wide=2 * _part(model.vocab, layout.ways("pipe", "tensor")) * targets),
        inputs=streamed // len(stacks),
    )


def _part(number: int, ways: int) -> int:
    return -(-number // ways)


def _recurrent(model: RecurrentConfig, found: Lengths) -> Kept:
    """Of each layer input, states, cells, and the values of the gates, in an LSTM also the tanh of the cell."""
    layer = {"rnn": 3, "lstm": 8}[model.cell]
    read = found.positions + found.source
    # The layer that attends is computed again on the way back: its arguments and contexts, and all that they become.
    attends = (2 * GATES[model.cell] + 2) * found.positions if found.source else 0
    steps = model.dim * (model.layers * layer * read + attends)
    return Kept(wide=steps)


def _word_vectors(model: Word2VecConfig, objective: SkipGram) -> Kept:
    """Vectors of centres, of tokens around them and of negatives, and two steps of every score."""
    places = word_places(model, objective)
    vectors = places.centres + places.around + places.draws
    return Kept(model.dim * vectors, 2 * (places.near + places.far))


def _detector(model: TransformerConfig, objective: ReplacedTokens, fused: bool) -> Kept:
    """ELECTRA: the model without logits, or the generator with them: no gradient joins them, one follows the other."""
    stacks, text = sides(model, objective), lengths(model, objective).text
    small = generator(model, objective)
    masked = lengths(small, Masked(text=text, rate=objective.rate)).predicted
    judged = Kept(3 * model.dim * stacks[0].positions)
    judging = Kept.sum([_all(_transformer(model, stacks, 0, fused)), judged])
    return max(judging, _all(_transformer(small, stacks, masked, fused)), key=sum)


def _all(found: Parts) -> Kept:
    return Kept.sum([*found.layers, found.ends, found.logits])


def _layer(model: TransformerConfig, side: Side, layer: int, fused: bool, layout: Layout) -> Kept:
    branches, experts = (3 if side.source else 2), model.has_experts(layer)
    found = [_branch(model, side.positions, fused)] * branches
    # Over a ring of devices no weights of attention are kept, fused or not.
    flash = fused or layout.context > 1
    blocks = [] if flash else _blocks(side, model.window_of(layer))
    found.append(_attention(model, side.positions, side.positions, blocks, flash))
    if side.source:
        across = [] if flash else _blocks_across(side)
        found.append(_attention(model, side.positions, side.source, across, flash))
    if experts:
        found.append(_experts(model, side.positions, fused, layout))
    else:
        found.append(_mlp(model, side.positions * model.hidden_dim, fused))
    kept = Kept.sum(found)
    if layout.tensor == 1:
        return kept
    # Every branch but routed experts multiplies the tokens of all devices of `tensor`, gathered.
    gathered = branches - (experts and not model.moe.shared)
    own = gathered * model.dim * side.positions
    return Kept(_part(kept.narrow, layout.tensor) + own, _part(kept.wide, layout.tensor))


def _branch(model: TransformerConfig, positions: int, fused: bool) -> Kept:
    """The sum of a branch and its norms."""
    each, norms = model.dim * positions, 2 if model.norm_place == "sandwich" else 1
    if fused:
        return Kept(2 * norms * each)  # what each norm reads and returns
    steps = 1 if model.norm == "rmsnorm" else 2  # the normalised vector; before it the centred one
    return Kept(norms * steps * each, (1 + norms) * each)


def _mlp(model: TransformerConfig, elements: int, fused: bool) -> Kept:
    """elements: positions times width."""
    if fused:
        return Kept((3 if model.gated else 2) * elements)
    return Kept((STEPS_CPU[model.activation] - 1) * elements, elements)


def _experts(model: TransformerConfig, positions: int, fused: bool, layout: Layout) -> Kept:
    """Router, what goes into the visited experts and what comes out, and shared experts.

    On a CPU `models.grouped` computes what is within an expert again on the way back.
    """
    moe = model.moe
    visits, router = slots_for(model, positions, layout), 3 * moe.experts * positions
    shared = _mlp(model, moe.shared * model.expert_dim * positions, fused)
    if fused:
        routed = _mlp(model, model.expert_dim * visits, fused)
        return Kept.sum([routed, shared, Kept(2 * model.dim * visits, router)])
    # The rows of an expert are filled up to whole blocks.
    visits += moe.experts * min(LARGEST_VISIT_BLOCK, visits // (2 * moe.experts))
    return Kept.sum([shared, Kept(wide=3 * model.dim * visits + router)])


def slots_for(model: TransformerConfig, positions: int, layout: Layout) -> int:
    """Rows that a device's experts are given for so many tokens of its own.

    Where experts are shared out, every other device has as many slots as could be needed (`models.exchange`).
    """
    moe = model.moe
    if layout.expert == 1:
        return moe.active * positions
    if moe.capacity is not None:  # each device has its own slots, see `models.moe.slots`
        return moe.experts * math.ceil(round(moe.capacity * positions * moe.active / moe.experts, 6))
    return layout.expert * min(moe.active, moe.experts // layout.expert) * positions


def _attention(model: TransformerConfig, positions: int, keys: int, blocks: list[Block], fused: bool) -> Kept:
    """Queries, keys, values, output and weights of one attention."""
    queries, each_key = model.heads * model.head_dim * positions, model.key_heads * model.head_dim
    normed = queries + each_key * keys if model.qk_norm else 0
    if fused:
        return Kept(2 * (queries + each_key * keys) + normed, model.heads * positions)
    copied = sum(block.keys for block in blocks if block.keys < keys)
    whole = keys if any(block.keys == keys for block in blocks) else 0
    weights = model.heads * sum(block.queries * block.keys for block in blocks)
    if model.attention_softcap is not None:
        weights *= 2  # and the slope of the cap
    # Queries, the output of every block and of all, the sums that divide it, a number for each of its elements;
    # of norms of queries and keys four steps.
    return Kept(wide=4 * queries + 2 * each_key * (copied + whole) + 4 * normed + weights)


def _blocks(side: Side, window: int | None) -> list[Block]:
    """The blocks of `models.attention_cpu` where a stack attends to itself."""
    blocks = []
    for start, stop in _queries(side.positions):
        first, last = 0, side.positions
        if side.causal and not side.prefix:
            last = stop
        if window is not None and not side.prefix:
            first = max(0, start - window + 1)
            last = last if side.causal else min(side.positions, stop + window - 1)
        blocks.append(Block(stop - start, last - first))
    return blocks


def _blocks_across(side: Side) -> list[Block]:
    """Those of a cross-attention: every query sees the whole source."""
    return [Block(stop - start, side.source) for start, stop in _queries(side.positions)]


def _queries(positions: int) -> list[tuple[int, int]]:
    width = min(QUERIES, -(-positions // 2))
    return [(start, min(start + width, positions)) for start in range(0, positions, width)]
