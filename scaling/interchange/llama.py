"""LLaMA, Mistral and Mixtral, and what others are like them in."""

from collections.abc import Callable
from typing import Any

from scaling.config import Experts, TransformerConfig
from scaling.interchange.architecture import Architecture
from scaling.interchange.fields import GATED, GATED_NAMES, Fields, chosen, rope_from, rope_to, unless
from scaling.interchange.rules import Layer, Leaf, Rule, Stacks, above_one, absent, copied, linear, stacked

SHAPE = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "hidden_act": "silu",
    "head_dim": None,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "rope_parameters": None,
    "rope_scaling": None,
    "rope_theta": 10_000.0,
    "partial_rotary_factor": None,
    "original_max_position_embeddings": None,
}
NORMS = {"input_layernorm": "attention_norm", "post_attention_layernorm": "mlp_norm"}
SANDWICH = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "attention_post_norm",
    "pre_feedforward_layernorm": "mlp_norm",
    "post_feedforward_layernorm": "mlp_post_norm",
}
BUFFERS = (r".*\.rotary_emb\.inv_freq",)
RENAMES = ((r"^(embed_tokens|layers|norm)\.", r"model.\1."),)


def read_like_llama(fields: Fields, activation: str = "hidden_act", **options: Any) -> TransformerConfig:
    dim, heads = fields["hidden_size"], fields["num_attention_heads"]
    base, scaling = rope_from(fields)
    head_size = fields.get("head_dim") or dim // heads
    return TransformerConfig(
        vocab=fields["vocab_size"],
        dim=dim,
        layers=fields["num_hidden_layers"],
        heads=heads,
        kv_heads=unless(fields["num_key_value_heads"], heads),
        head_size=None if head_size * heads == dim else head_size,
        context=fields["max_position_embeddings"],
        rope_base=base,
        rope_scaling=scaling,
        mlp_dim=fields["intermediate_size"],
        activation=chosen(activation, fields[activation], GATED),
        norm_eps=fields["rms_norm_eps"],
        tied=fields["tied"],
        init="normal",
        **options,
    )


def write_like_llama(model: TransformerConfig) -> Fields:
    return {
        "vocab_size": model.vocab,
        "hidden_size": model.dim,
        "intermediate_size": model.hidden_dim,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.key_heads,
        "head_dim": model.head_dim,
        "hidden_act": GATED_NAMES.get(model.activation, "silu"),
        "max_position_embeddings": model.context,
        "rms_norm_eps": model.norm_eps,
        "tie_word_embeddings": model.tied,
        "rope_parameters": rope_to(model),
    }


def whole_heads(model: TransformerConfig) -> None:
    """Raises ValueError for a width that transformers refuses, whatever the head size."""
    if model.dim % model.heads:
        raise ValueError(f"dim={model.dim} is no multiple of heads={model.heads}, which transformers asks for")


def _attention(model: TransformerConfig, fields: Fields, name: str, at: Layer) -> list[Rule]:
    own = fields.get("attention_bias", model.biases)  # whether their file has these biases
    rules: list[Rule] = []
    for theirs, ours in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("o_proj", "out")):
        bias = own or (model.qkv_biases and ours != "out")
        rules += linear(f"{name}.{theirs}", at, f"attention.{ours}", bias=bias)
        if model.biases and not bias:
            rules.append(absent(at(f"attention.{ours}.bias")))
    if model.qk_norm:
        rules.append(copied(f"{name}.q_norm.weight", at("attention.query_norm.scale")))
        rules.append(copied(f"{name}.k_norm.weight", at("attention.key_norm.scale")))
    return rules


def _mlp(model: TransformerConfig, fields: Fields, name: str, at: Layer) -> list[Rule]:
    rules: list[Rule] = []
    for ours in ("gate", "up", "down"):
        rules += linear(f"{name}.{ours}_proj", at, f"mlp.{ours}", bias=fields.get("mlp_bias", False))
        if model.biases and not fields.get("mlp_bias", False):
            rules.append(absent(at(f"mlp.{ours}.bias")))
    return rules


def _experts(model: TransformerConfig, name: str, at: Layer) -> list[Rule]:
    each = [f"{name}.experts.{expert}" for expert in range(model.moe.experts)]
    return [
        *linear(f"{name}.gate", lambda path: at("experts.router"), "router", bias=False),
        stacked([f"{expert}.w1.weight" for expert in each], at("experts.gate")),
        stacked([f"{expert}.w3.weight" for expert in each], at("experts.up")),
        stacked([f"{expert}.w2.weight" for expert in each], at("experts.down")),
    ]


def _body(model: TransformerConfig, fields: Fields, layer: Stacks) -> list[Rule]:
    sandwich = model.norm_place == "sandwich"
    scale = above_one if sandwich else copied
    rules = [scale("model.norm.weight", Leaf("decoder.final_norm.scale"))]
    for index in range(model.layers):
        name, at = f"model.layers.{index}", layer("decoder", index)
        rules += _attention(model, fields, f"{name}.self_attn", at)
        if model.moe:
            rules += _experts(model, f"{name}.block_sparse_moe", at)
        else:
            rules += _mlp(model, fields, f"{name}.mlp", at)
        for theirs, ours in (SANDWICH if sandwich else NORMS).items():
            rules.append(scale(f"{name}.{theirs}.weight", at(f"{ours}.scale")))
    return rules


def like_llama(name: str, cls: str, known: Fields, read: Callable, write: Callable, **more: Any) -> Architecture:
    return Architecture(
        name=name,
        classes=(cls,),
        known=SHAPE | known,
        read=read,
        write=write,
        body=_body,
        embedding="model.embed_tokens.weight",
        head="lm_head.weight",
        buffers=BUFFERS,
        renames=RENAMES,
        **{"fixed": {"is_decoder": (False, True)}} | more,
    )


def _read_llama(fields: Fields) -> TransformerConfig:
    return read_like_llama(fields, biases=fields["attention_bias"] or fields["mlp_bias"])


def _write_llama(model: TransformerConfig) -> Fields:
    whole_heads(model)
    return write_like_llama(model) | {"attention_bias": model.biases, "mlp_bias": model.biases}


def _read_mistral(fields: Fields) -> TransformerConfig:
    return read_like_llama(fields, window=fields["sliding_window"])


def _write_mistral(model: TransformerConfig) -> Fields:
    return write_like_llama(model) | {"sliding_window": model.window}


def _read_mixtral(fields: Fields) -> TransformerConfig:
    experts = Experts(
        experts=fields["num_local_experts"],
        active=fields["num_experts_per_tok"],
        balance_loss=fields["router_aux_loss_coef"],
        z_loss=0.0,
    )
    return read_like_llama(fields, window=fields["sliding_window"], moe=experts)


def _write_mixtral(model: TransformerConfig) -> Fields:
    moe = model.moe or Experts(experts=1, active=1)
    return write_like_llama(model) | {
        "intermediate_size": model.expert_dim,
        "sliding_window": model.window,
        "num_local_experts": moe.experts,
        "num_experts_per_tok": moe.active,
        "router_aux_loss_coef": moe.balance_loss,
    }


LLAMA = like_llama(
    "llama",
    "LlamaForCausalLM",
    {
        "vocab_size": 32000,
        "intermediate_size": 11008,
        "max_position_embeddings": 2048,
        "attention_bias": False,
        "mlp_bias": False,
    },
    _read_llama,
    _write_llama,
)
MISTRAL = like_llama(
    "mistral",
    "MistralForCausalLM",
    {
        "vocab_size": 32000,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    _read_mistral,
    _write_mistral,
)
MIXTRAL = like_llama(
    "mixtral",
    "MixtralForCausalLM",
    {
        "vocab_size": 32000,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1_000_000.0,
        "sliding_window": None,
        "num_experts_per_tok": 2,
        "num_local_experts": 8,
        "router_aux_loss_coef": 0.001,
    },
    _read_mixtral,
    _write_mixtral,
)
