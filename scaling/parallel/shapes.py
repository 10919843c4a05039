"""Every parameter of a transformer: its name, its shape and what its dimensions are, without making it.

No JAX, so that a plan can tell what lies on each device of a layout.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod

from scaling.config import TransformerConfig
from scaling.parallel.dims import PARAMETERS, Dims, Path, dims_of
from scaling.parallel.layout import ALONE, Layout


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One array of a transformer's parameters; of a stack of layers all of them, along the first dimension."""

    path: Path
    shape: tuple[int, ...]

    @cached_property
    def dims(self) -> Dims:
        return dims_of(self.path, ALONE)

    @cached_property
    def elements(self) -> int:
        return prod(self.shape)

    @cached_property
    def may_be_divided_by(self) -> tuple[str, ...]:
        """Axes of a mesh, whatever their sizes."""
        return tuple(axis for dim in self.dims for axis in PARAMETERS[dim])

    @property
    def is_layer(self) -> bool:
        return "blocks" in self.path

    def axes(self, layout: Layout) -> tuple[str, ...]:
        """Axes of the mesh that divide it."""
        return layout.over(*self.may_be_divided_by)

    def elements_of_device(self, layout: Layout, *, but: tuple[str, ...] = ()) -> int:
        """Elements that one device holds. but: axes along which it has been made whole."""
        axes = [axis for axis in self.axes(layout) if axis not in but]
        return self.elements // layout.ways(*axes)


@cache
def leaves(model: TransformerConfig) -> tuple[Leaf, ...]:
    """All parameters of a transformer, without what an objective adds."""
    return tuple(Leaf(path=path, shape=shape) for path, shape in _model(model))


def state_bytes_of_device(model: TransformerConfig, layout: Layout) -> int:
    """Parameters and AdamW's two moments, float32, that lie on one device between steps."""
    return 3 * 4 * sum(leaf.elements_of_device(layout) for leaf in leaves(model))


Shapes = Iterator[tuple[Path, tuple[int, ...]]]


def _model(model: TransformerConfig) -> Shapes:
    dim, vocab = model.dim, model.vocab
    yield ("embedding",), (vocab, dim)
    if model.token_types:
        yield ("types",), (model.token_types, dim)
    if model.depth_of_encoder:
        own = 0 if model.shared_layers else model.depth_of_encoder
        yield from _under(_stack(model, own, cross=False), "encoder")
    if model.depth_of_decoder:
        yield from _under(_stack(model, model.layers, cross=model.architecture == "encoder_decoder"), "decoder")
    if not model.tied:
        yield ("head",), (vocab, dim)
    if model.head_transform:
        yield from _under(_linear(dim, dim, bias=model.biases), "head_transform", "linear")
        yield from _under(_norm(model), "head_transform", "norm")
    if model.head_bias:
        yield ("head_bias",), (vocab,)
    if model.sentence_head:
        yield from _under(_linear(dim, dim, bias=True), "sentence_head", "pool")
        yield from _under(_linear(dim, 2, bias=True), "sentence_head", "out")


def _stack(model: TransformerConfig, layers: int, *, cross: bool) -> Shapes:
    if model.positions == "learned":
        yield ("positions",), (model.context, model.dim)
    if model.embedding_norm:
        yield from _under(_norm(model), "embedding_norm")
    if model.positions == "t5":
        yield ("relative_bias",), (model.position_buckets, model.heads)
    period = model.period(layers)
    for place, kind in enumerate(period):
        for path, shape in _block(model, experts=kind.experts, cross=cross):
            yield ("blocks", str(place), *path), (layers // len(period), *shape)
    if model.norm_place != "post":
        yield from _under(_norm(model), "final_norm")


def _block(model: TransformerConfig, *, experts: bool, cross: bool) -> Shapes:
    for name in ("attention", "cross") if cross else ("attention",):
        yield from _norms(model, name)
        yield from _under(_attention(model), name)
    yield from _norms(model, "mlp")
    if not experts:
        yield from _under(_mlp(model, model.hidden_dim), "mlp")
        return
    moe, dim, hidden = model.moe, model.dim, model.expert_dim
    yield ("experts", "router"), (dim, moe.experts)
    if model.gated:
        yield ("experts", "gate"), (moe.experts, dim, hidden)
    yield ("experts", "up"), (moe.experts, dim, hidden)
    yield ("experts", "down"), (moe.experts, hidden, dim)
    if moe.shared:
        yield from _under(_mlp(model, moe.shared * hidden), "experts", "shared")


def _attention(model: TransformerConfig) -> Shapes:
    inner, keys = model.heads * model.head_dim, model.key_heads * model.head_dim
    biased = model.biases or model.qkv_biases
    for name, width in (("query", inner), ("key", keys), ("value", keys)):
        yield from _under(_linear(model.dim, width, bias=biased), name)
    yield from _under(_linear(inner, model.dim, bias=model.biases), "out")
    if model.qk_norm:
        yield ("query_norm", "scale"), (model.head_dim,)
        yield ("key_norm", "scale"), (model.head_dim,)


def _mlp(model: TransformerConfig, hidden: int) -> Shapes:
    for name in ("gate", "up") if model.gated else ("up",):
        yield from _under(_linear(model.dim, hidden, bias=model.biases), name)
    yield from _under(_linear(hidden, model.dim, bias=model.biases), "down")


def _norms(model: TransformerConfig, branch: str) -> Shapes:
    yield from _under(_norm(model), f"{branch}_norm")
    if model.norm_place == "sandwich":
        yield from _under(_norm(model), f"{branch}_post_norm")


def _norm(model: TransformerConfig) -> Shapes:
    yield ("scale",), (model.dim,)
    if model.norm == "layernorm" and model.biases:
        yield ("bias",), (model.dim,)


def _linear(fan_in: int, fan_out: int, *, bias: bool) -> Shapes:
    yield ("kernel",), (fan_in, fan_out)
    if bias:
        yield ("bias",), (fan_out,)


def _under(shapes: Shapes, *path: str) -> Shapes:
    for below, shape in shapes:
        yield (*path, *below), shape
