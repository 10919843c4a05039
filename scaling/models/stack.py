"""Layers one after another: what an encoder and a decoder have in common.

The parameters of the layers are stacked along a leading layer dimension; where
layers differ in kind (a window here, experts there) every kind in a period has
a stack of its own. On accelerators `lax.scan` walks the periods, so
compilation does not grow with depth; on CPU the layers are unrolled, which
runs 25 to 35% faster there. Activations are kept as (tokens of the batch,
width) matrices.

Letters: M = B T tokens of the batch, T positions, S source positions, D width.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from scaling.config import TransformerConfig
from scaling.config.transformer import Kind
from scaling.models.attention import Attention, Bias
from scaling.models.inputs import Routing, no_routing
from scaling.models.layers import MLP, Norm, block_norm, table
from scaling.models.moe import MoE
from scaling.models.parametrisation import branch_scale
from scaling.models.positions import alibi, alibi_of, alibi_slopes, relative_bias, relative_bias_of, sinusoids
from scaling.models.sight import Pattern, Sight
from scaling.parallel.collectives import my_rows, place, total
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.pipeline import each_part, pipelined
from scaling.parallel.weights import gathered


class Source(NamedTuple):
    """What a decoder's cross-attention reads."""

    x_MD: Array  # (B S, D)
    positions: int  # S
    sight: Sight


class Surroundings(NamedTuple):
    """What every layer of one pass is given."""

    positions: int
    causal: bool
    sight: Sight
    bias: Bias | None
    source: Source | None
    layout: Layout
    place_T: Array | None  # where tokens stand, if not at 0, 1, 2, ...


class Block(nnx.Module):
    """Attention, in a decoder with a source cross-attention, and an MLP or experts; each a residual branch."""

    def __init__(self, model: TransformerConfig, kind: Kind, cross: bool, rngs: nnx.Rngs):
        self.model, self.kind = model, kind
        sandwich = model.norm_place == "sandwich"
        self.attention_norm = block_norm(model)
        self.attention = Attention(model, rngs)
        self.attention_post_norm = block_norm(model) if sandwich else None
        if cross:
            self.cross_norm = block_norm(model)
            self.cross = Attention(model, rngs)
            self.cross_post_norm = block_norm(model) if sandwich else None
        self.mlp_norm = block_norm(model)
        if kind.experts:
            self.experts = MoE(model, rngs)
        else:
            self.mlp = MLP(model, rngs)
        self.mlp_post_norm = block_norm(model) if sandwich else None

    def __call__(self, x_MD: Array, around: Surroundings) -> tuple[Array, Routing]:
        softcap = self.model.attention_softcap
        pattern = Pattern(around.causal, self.kind.window, softcap)

        def attend(x_MD: Array) -> Array:
            return self.attention(
                x_MD,
                around.positions,
                pattern,
                around.sight,
                around.bias,
                layout=around.layout,
                place_T=around.place_T,
            )

        def attend_source(x_MD: Array) -> Array:
            read, pattern = around.source, Pattern(causal=False, softcap=softcap)
            from_source = (read.x_MD, read.positions)
            return self.cross(x_MD, around.positions, pattern, read.sight, None, from_source, layout=around.layout)

        x_MD = self._add(x_MD, attend, self.attention_norm, self.attention_post_norm)
        if around.source is not None:
            x_MD = self._add(x_MD, attend_source, self.cross_norm, self.cross_post_norm)
        if not self.kind.experts:
            mlp = partial(self.mlp, layout=around.layout)
            return self._add(x_MD, mlp, self.mlp_norm, self.mlp_post_norm), no_routing()
        routings = []

        def route(x_MD: Array) -> Array:
            out_MD, routing = self.experts(x_MD, around.layout)
            routings.append(routing)
            return out_MD

        return self._add(x_MD, route, self.mlp_norm, self.mlp_post_norm), routings[0]

    def _add(self, x_MD: Array, branch: Callable[[Array], Array], norm: Norm, post: Norm | None) -> Array:
        """The residual sum, with its norms where the model places them."""
        scale = branch_scale(self.model)
        after = self.model.norm_place == "post"
        out_MD = branch(x_MD if after else norm(x_MD))
        out_MD = out_MD if post is None else post(out_MD)
        x_MD = x_MD + (out_MD if scale == 1.0 else out_MD * scale)
        return norm(x_MD) if after else x_MD


class Stack(nnx.Module):
    """Positions, layers and a final norm. Without layers of its own it is given another stack's."""

    def __init__(self, model: TransformerConfig, rngs: nnx.Rngs, *, layers: int, causal: bool, cross: bool):
        self.model, self.causal = model, causal
        learned, bucketed = model.positions == "learned", model.positions == "t5"
        self.positions = table(model, "positions", model.context, model.dim, rngs) if learned else None
        self.embedding_norm = block_norm(model) if model.embedding_norm else None
        rows = model.position_buckets
        self.relative_bias = table(model, "relative_bias", rows, model.heads, rngs) if bucketed else None
        self.blocks = _blocks(model, rngs, layers, cross)
        self.final_norm = block_norm(model) if model.norm_place != "post" else None

    def __call__(
        self,
        x_MD: Array,
        positions: int,
        sight: Sight,
        source: Source | None = None,
        blocks: nnx.Dict | None = None,
        layout: Layout = ALONE,
        place_T: Array | None = None,
    ) -> tuple[Array, Routing]:
        """x_MD: embeddings; in a pipeline, like sight and source, of all microbatches, (A, M, D).

        blocks: layers to use in place of its own. place_T: see `Surroundings`.
        """
        around = self.around(positions, sight, source, layout, place_T)
        x_MD = each_part(partial(self.placed, around=around), layout)(x_MD)
        x_MD, routing = _through(self.blocks if blocks is None else blocks, x_MD, around)
        return x_MD if self.final_norm is None else self.final_norm(x_MD), routing

    def around(
        self,
        positions: int,
        sight: Sight,
        source: Source | None = None,
        layout: Layout = ALONE,
        place_T: Array | None = None,
    ) -> Surroundings:
        """What every layer is given, whatever it works on."""
        return Surroundings(positions, self.causal, sight, self._bias(positions, layout), source, layout, place_T)

    def placed(self, x_MD: Array, around: Surroundings) -> Array:
        """Embeddings with what says where they stand."""
        batch = x_MD.shape[0] * around.layout.tensor // around.positions

        def rows(table_TD: Array) -> Array:
            mine_TD = table_TD[: around.positions] if around.place_T is None else table_TD[around.place_T]
            return my_rows(jnp.tile(mine_TD, (batch, 1)), around.layout)

        if self.positions is not None:
            x_MD = x_MD + rows(self.positions[...])
        if self.model.positions == "sinusoidal":
            whole = around.positions * around.layout.context
            x_MD = x_MD + rows(jnp.asarray(sinusoids(whole, self.model.dim), x_MD.dtype))
        return x_MD if self.embedding_norm is None else self.embedding_norm(x_MD)

    def _bias(self, positions: int, layout: Layout) -> Bias | None:
        """What is added to every layer's scores, for this device's heads."""
        whole = positions * layout.context
        if self.relative_bias is not None:
            way = {"distance": self.model.position_distance, "both_ways": not self.causal}
            if layout.context > 1:
                return relative_bias_of(self.relative_bias[...], whole, **way)
            return relative_bias(self.relative_bias[...], whole, **way)
        if self.model.positions != "alibi":
            return None
        heads = self.model.heads // layout.tensor
        first = place(("tensor",), layout) * heads
        if layout.context > 1:
            slopes_N = jnp.asarray(alibi_slopes(self.model.heads))
            return alibi_of(jax.lax.dynamic_slice_in_dim(slopes_N, first, heads))
        return jax.lax.dynamic_slice_in_dim(alibi(self.model.heads, whole), first, heads)


def _blocks(model: TransformerConfig, rngs: nnx.Rngs, layers: int, cross: bool) -> nnx.Dict:
    """A stack of blocks for every place of a period."""
    period = model.period(layers)

    def stacked(kind: Kind) -> Block:
        return nnx.vmap(lambda rngs: Block(model, kind, cross, rngs))(rngs.split(layers // len(period)))

    return nnx.Dict({str(place): stacked(kind) for place, kind in enumerate(period)})


def _through(blocks: nnx.Dict, x_MD: Array, around: Surroundings) -> tuple[Array, Routing]:
    """All layers; in a pipeline those of all stages, and all microbatches."""
    layout = around.layout
    split = [nnx.split(blocks[str(place)]) for place in range(len(blocks))]
    graphs, states = [graph for graph, _ in split], [nnx.to_pure_dict(state) for _, state in split]
    walk = partial(_walk, graphs)
    if layout.pipe == 1:
        x_MD, routing = walk(states, x_MD, around)
    else:
        # Gathered once a repeat and not at every tick.
        whole = partial(gathered, layout=layout) if layout.zero == 3 else lambda states: states
        weights = [whole(of_repeat) for of_repeat in _by_repeat(states, layout)]
        gathered_already = around._replace(layout=replace(layout, zero=2))

        def stage(weights: Any, x_MD: Array, part: Array) -> tuple[Array, Routing]:
            return walk(weights, x_MD, _of_part(gathered_already, part))

        x_MD, routing = pipelined(stage, weights if layout.repeats > 1 else weights[0], x_MD, layout)
        parts = layout.microbatches
        routing = jax.tree.map(lambda x: total(x, ("pipe",), layout) / parts, routing)
    with_experts = sum(blocks[str(place)].kind.experts for place in range(len(blocks)))
    return x_MD, routing._replace(dropped=routing.dropped / max(1, with_experts * _periods(states, layout)))


def _walk(graphs: list[Any], states: list[Any], x_MD: Array, around: Surroundings) -> tuple[Array, Routing]:
    """Layer after layer of one device. states: for every place of a period, its layers' parameters, stacked."""

    def period(carry: tuple[Array, Routing], layers: list[Any]) -> tuple[tuple[Array, Routing], None]:
        x_MD, total = carry
        if gathers:
            layers = gathered(layers, around.layout)
        for graph, layer in zip(graphs, layers, strict=True):
            x_MD, routing = nnx.merge(graph, layer)(x_MD, around)
            total = jax.tree.map(jnp.add, total, routing)
        return (x_MD, total), None

    gathers = around.layout.zero == 3 and around.layout.fsdp > 1
    if around.layout.remat == "block":
        period = jax.checkpoint(period)
    elif gathers:  # once more for the backward pass: a device never holds all layers
        period = jax.checkpoint(period, policy=_all_but_gathered_weights)
    carry = (x_MD, no_routing())
    if jax.default_backend() != "cpu":
        return jax.lax.scan(period, carry, states)[0]
    # unstack, not indexing: its gradient is one concatenation instead of a sum of padded layers.
    leaves, tree = jax.tree.flatten(states)
    for layers in zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True):
        carry, _ = period(carry, jax.tree.unflatten(tree, layers))
    return carry


def _all_but_gathered_weights(_: Any, *avals: Any, **params: Any) -> bool:
    """A policy of `jax.checkpoint`: what is kept for the backward pass. `gather_weight` is seen as a call."""
    called = params.get("call_jaxpr")
    return called is None or all(each.primitive.name != "all_gather" for each in called.eqns)


def _by_repeat(states: Any, layout: Layout) -> list[Any]:
    """This stage's layers at every repeat."""
    if layout.repeats == 1:
        return [states]
    return [jax.tree.map(itemgetter((repeat, 0)), states) for repeat in range(layout.repeats)]


def _of_part(around: Surroundings, part: Array) -> Surroundings:
    """What surrounds one microbatch."""

    def pick(x_A: Array) -> Array:
        return jax.lax.dynamic_index_in_dim(x_A, part, keepdims=False)

    source = around.source
    if source is not None:
        source = source._replace(x_MD=pick(source.x_MD), sight=jax.tree.map(pick, source.sight))
    return around._replace(sight=jax.tree.map(pick, around.sight), source=source)


def _periods(states: Any, layout: Layout) -> int:
    """Periods of the whole stack."""
    shape = jax.tree.leaves(states)[0].shape
    return layout.pipe * shape[0] if layout.repeats == 1 else layout.repeats * layout.pipe * shape[2]
