"""What a config makes a model compute, every default filled in: equal functions have equal entries."""

import math
from typing import Any

from scaling.config import TransformerConfig
from scaling.interchange.fields import effective_rope


def function_of(model: TransformerConfig) -> dict[str, Any]:
    """By field of `TransformerConfig`. Left out is what only training sees, and what an option makes idle."""
    from scaling.models import parametrisation

    experts = [model.has_experts(layer) for layer in range(model.layers)]
    found = {
        "architecture": model.architecture,
        "vocab": model.vocab,
        "dim": model.dim,
        "layers": model.layers,
        "encoder_layers": model.depth_of_encoder,
        "shared_layers": model.shared_layers,
        "heads": model.heads,
        "kv_heads": model.key_heads,
        "head_size": model.head_dim,
        "context": model.context,
        "attention_scale": parametrisation.attention_scale(model),
        "attention_softcap": model.attention_softcap,
        "qk_norm": model.qk_norm,
        "biases": model.biases,
        "qkv_biases": model.biases or model.qkv_biases,
        "window": tuple(model.window_of(layer) for layer in range(model.layers)),
        "positions": model.positions,
        "activation": model.activation,
        "mlp_dim": None if all(experts) else model.hidden_dim,
        "moe": tuple(experts),
        "norm": model.norm,
        "norm_place": model.norm_place,
        "norm_eps": model.norm_eps,
        "embedding_scale": parametrisation.embedding_scale(model),
        "embedding_norm": model.embedding_norm,
        "token_types": model.token_types,
        "tied": model.tied,
        "logit_scale": parametrisation.logit_scale(model),
        "logit_softcap": model.logit_softcap,
        "head_transform": model.head_transform,
        "head_bias": model.head_bias,
        "sentence_head": model.sentence_head,
        "parametrisation.depth": parametrisation.branch_scale(model),
    }
    if model.positions == "rope":
        found["rope_base"], found["rope_scaling"] = effective_rope(model)
    if model.positions == "t5":
        found |= {"position_buckets": model.position_buckets, "position_distance": model.position_distance}
    if model.moe is not None:
        names = ("experts", "active", "shared", "capacity", "renormalise")
        found |= {f"moe.{name}": getattr(model.moe, name) for name in names} | {"moe.dim": model.expert_dim}
    return found


def differences(wanted: TransformerConfig, found: TransformerConfig) -> list[str]:
    """Where two configs compute something else, each as `field=wanted, not found`."""
    one, other = function_of(wanted), function_of(found)
    return [
        f"{name}={one.get(name)}, not {other.get(name)}"
        for name in one | other
        if not _same(one.get(name), other.get(name))
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)  # a float64 power there and back
    return one == other
