"""How initialisation, multipliers and learning rates change with width and depth: one table by parameter role.

Standard: today's practice, every parameter learns at one rate. muP (Yang et
al. 2022, arXiv:2203.03466, table 8, the form that allows a tied head): with
m = dim / base_dim, Adam's rate of hidden matrices is divided by m, logits are
divided by m, scores scale with 1/head size instead of its root. Activations
and their updates then have one size at every width, and the best learning
rate of the base is the best of all. Queries are not set to zero: the paper
recommends it to bring small widths closer to the limit, not for the limit.
Whatever else has a width (MLP, heads times head size) is taken to grow with dim.

Depth, with l = layers / base_layers: a branch is multiplied by l^-1/2
(depth-muP, Yang et al. 2023, arXiv:2310.02244) or l^-1 (CompleteP, Dey et al.
2025, arXiv:2505.01618, table 1), rates within blocks by l^-1/2 or 1, and
blocks begin alike at every depth.

Where dim = base_dim and layers = base_layers, all of this is the standard;
of the scores this holds where the head size is BASE_HEAD_SIZE.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from scaling.config import ModelConfig, TransformerConfig

Role = Literal[
    "embedding", "positions", "relative_bias", "hidden", "query", "residual", "router", "readout", "output", "vector"
]  # fmt: skip
Path = tuple[str, ...]  # keys from the root of the parameters to a leaf

SMALL_STD = 0.02
SMALL = ("embedding", "positions", "relative_bias", "readout", "output")  # what begins so under `fan_in`
BASE_HEAD_SIZE = 16  # of the model whose learning rate muP carries to others; `sizes.HEAD_DIM`


class Powers(NamedTuple):
    """How muP changes a role with the width: the power of m = dim / base_dim that multiplies each number."""

    std: float  # initial standard deviation, beside what fan_in does at the base
    rate: float  # Adam's learning rate
    epsilon: float  # Adam's eps: that of the gradient, so that eps stays as small beside it


WIDTH: dict[Role, Powers] = {
    "embedding": Powers(0, 0, -1),  # also the head where tied: the logits' multiplier serves both
    "positions": Powers(0, 0, -1),  # and token types
    "relative_bias": Powers(0, 0, -1),  # of the scores, T5
    "hidden": Powers(-0.5, -1, -1),  # from width to width
    "query": Powers(-0.5, -1, -1),  # a hidden matrix that T5 begins smaller
    "residual": Powers(-0.5, -1, -1),  # a hidden matrix that writes to the residual stream
    "router": Powers(-1, -1, 0),  # from width to a number an expert, and no multiplier follows (table 3)
    "readout": Powers(-1, -1, 0),  # likewise: is this the next sentence, was this token replaced?
    "output": Powers(0, 0, -1),  # an untied head
    "vector": Powers(0, 0, -1),  # norm scales and biases
}


class Depth(NamedTuple):
    """Powers of l = layers / base_layers."""

    branch: float
    rate: float  # of what is within a block
    epsilon: float


DEPTH = {"standard": Depth(0, 0, 0), "sqrt": Depth(-0.5, -0.5, -0.5), "complete": Depth(-1, 0, -1)}

_ROLES: dict[str, Role] = {
    "embedding": "embedding",
    "types": "positions",
    "positions": "positions",
    "relative_bias": "relative_bias",
    "query": "query",
    "key": "hidden",
    "value": "hidden",
    "gate": "hidden",
    "up": "hidden",
    "linear": "hidden",
    "embedding_projection": "hidden",
    "pool": "hidden",
    "out": "residual",
    "down": "residual",
    "router": "router",
    "head": "output",
    "head_bias": "vector",
    "scale": "vector",
    "bias": "vector",
}


def role(path: Path) -> Role:
    """What a parameter of a transformer does. Raises for a name without a role."""
    name = path[-2] if path[-1] == "kernel" and len(path) > 1 else path[-1]
    if name not in _ROLES:
        raise ValueError(f"parameter {'/'.join(path)}: {name!r} has no role; add it to parametrisation._ROLES")
    in_attention = "attention" in path or "cross" in path
    return "readout" if name == "out" and not in_attention else _ROLES[name]


def std(model: TransformerConfig, role: Role, fan_in: int) -> float:
    """Initial standard deviation of a matrix.

    `model.init` says how the base begins; muP goes on from there by WIDTH.
      fan_in  fan_in^-1/2; embeddings, positions and heads (SMALL) 0.02;
              residual matrices divided by sqrt(2 layers), so that the stream's
              variance does not grow with depth (Radford et al. 2019, section 2.3)
      normal  0.02, residual matrices divided in the same way (GPT-2)
      t5      embeddings 1, queries (fan_in * head size)^-1/2, all else fan_in^-1/2
              (Raffel et al. 2020, arXiv:1910.10683, and its code)
    Where `depth` multiplies branches, the division is by sqrt(2 base_layers).
    """
    assert role != "vector", "norm scales begin at one, biases at zero"
    ratio = width_ratio(model)
    return _at_base(model, role, fan_in / ratio, model.dim / ratio) * ratio ** WIDTH[role].std


def _at_base(model: TransformerConfig, role: Role, fan_in: float, dim: float) -> float:
    if model.init == "t5":
        fans = {"embedding": 1.0, "positions": 1.0, "relative_bias": dim, "output": dim}
        return (fan_in * model.head_dim if role == "query" else fans.get(role, fan_in)) ** -0.5
    small = model.init == "normal" or role in SMALL
    depth = model.layers if model.parametrisation.depth == "standard" else model.parametrisation.base_layers
    return (SMALL_STD if small else fan_in**-0.5) * ((2 * depth) ** -0.5 if role == "residual" else 1.0)


def width_ratio(model: TransformerConfig) -> float:
    """m: how many times wider than the base; 1 under the standard parametrisation."""
    return model.dim / model.parametrisation.base_dim if model.parametrisation.width == "mup" else 1.0


def depth_ratio(model: TransformerConfig) -> float:
    """l: how many times deeper than the base."""
    return model.layers / model.parametrisation.base_layers


def attention_scale(model: TransformerConfig) -> float:
    """Multiplies queries times keys: head size^-1/2, in muP sqrt(BASE_HEAD_SIZE) / head size.

    Queries and keys that have learned are aligned, so their product grows
    with the head size and not with its root (Yang et al. 2022, definition 4.1).
    """
    if model.attention_scale is not None:
        return model.attention_scale
    return BASE_HEAD_SIZE**0.5 / model.head_dim if model.parametrisation.width == "mup" else model.head_dim**-0.5


def embedding_scale(model: TransformerConfig) -> float:
    """Multiplies the embeddings: 1; beside unit sinusoids sqrt(dim), in muP the base's.

    Vaswani et al. 2017, section 3.4.
    """
    if model.embedding_scale is not None:
        return model.embedding_scale
    return (model.dim / width_ratio(model)) ** 0.5 if model.positions == "sinusoidal" else 1.0


def branch_scale(model: TransformerConfig) -> float:
    """Multiplies what attention and MLP add to the residual stream."""
    return depth_ratio(model) ** DEPTH[model.parametrisation.depth].branch


def logit_scale(model: TransformerConfig) -> float:
    """Multiplies the states that the head reads: 1, in muP base_dim / dim, tied or not."""
    return 1 / width_ratio(model) if model.logit_scale is None else model.logit_scale


def learning_rate_multipliers(model: ModelConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """What multiplies Adam's learning rate, a tree like `params`; ones in the standard and in other families."""
    return _by_path(params, lambda path: _rate(model, path))


def weight_decay_multipliers(model: ModelConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """What multiplies the weight decay, which is itself multiplied by the rate: one over the rate's multiplier.

    Rate times decay, the share of a weight forgotten in a step, is then the
    same at every width (Wang & Aitchison 2024, arXiv:2405.13698).
    """
    return _by_path(params, lambda path: 1 / _rate(model, path))


def epsilon_multipliers(model: ModelConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """What multiplies Adam's eps: gradients shrink with width and depth, and eps with them (Dey et al., table 1)."""
    return _by_path(params, lambda path: _epsilon(model, path))


def _rate(model: ModelConfig, path: Path) -> float:
    if not isinstance(model, TransformerConfig):
        return 1.0
    within = DEPTH[model.parametrisation.depth].rate if "blocks" in path else 0
    return width_ratio(model) ** WIDTH[role(path)].rate * depth_ratio(model) ** within


def _epsilon(model: ModelConfig, path: Path) -> float:
    if not isinstance(model, TransformerConfig):
        return 1.0
    within = DEPTH[model.parametrisation.depth].epsilon if "blocks" in path else 0
    return width_ratio(model) ** WIDTH[role(path)].epsilon * depth_ratio(model) ** within


def _by_path(params: Mapping[str, Any], value: Callable[[Path], float], path: Path = ()) -> dict[str, Any]:
    """The same tree, its leaves the value of their path."""
    return {
        key: _by_path(child, value, (*path, key)) if isinstance(child, Mapping) else value((*path, key))
        for key, child in params.items()
    }
