"""BART: post-norm, a norm of the embeddings on both sides, two rows before the first position's."""

from collections.abc import Mapping

import numpy as np

from scaling.config import TransformerConfig
from scaling.interchange.architecture import Architecture
from scaling.interchange.fields import PLAIN, PLAIN_NAMES, Fields, chosen, refuse, unless
from scaling.interchange.rules import Layer, Leaf, Rule, Stacks, after_rows, flat, layer_norm, linear, whole

OFFSET = 2
EPS = 1e-5  # torch.nn.LayerNorm's own; their config has no field for it
LOGITS_BIAS = "final_logits_bias"


def _read(fields: Fields) -> TransformerConfig:
    for one, other in (("encoder_attention_heads", "decoder_attention_heads"), ("encoder_ffn_dim", "decoder_ffn_dim")):
        if fields[one] != fields[other]:
            refuse(one, fields[one], f"{other}={fields[other]} differs, and both sides have one shape here")
    dim, layers = fields["d_model"], fields["decoder_layers"]
    return TransformerConfig(
        architecture="encoder_decoder",
        vocab=fields["vocab_size"],
        dim=dim,
        layers=layers,
        encoder_layers=unless(fields["encoder_layers"], layers),
        heads=fields["decoder_attention_heads"],
        context=fields["max_position_embeddings"],
        positions="learned",
        mlp_dim=unless(fields["decoder_ffn_dim"], 4 * dim),
        activation=chosen("activation_function", fields["activation_function"], PLAIN),
        norm="layernorm",
        norm_place="post",
        norm_eps=EPS,
        biases=True,
        embedding_scale=dim**0.5 if fields["scale_embedding"] else None,
        embedding_norm=True,
        tied=fields["tied"],
        head_bias=fields["logits_bias"],
        init="normal",
    )


def _write(model: TransformerConfig) -> Fields:
    return {
        "vocab_size": model.vocab,
        "d_model": model.dim,
        "encoder_layers": model.depth_of_encoder or model.layers,
        "decoder_layers": model.layers,
        "encoder_attention_heads": model.heads,
        "decoder_attention_heads": model.heads,
        "encoder_ffn_dim": model.hidden_dim,
        "decoder_ffn_dim": model.hidden_dim,
        "max_position_embeddings": model.context,
        "activation_function": PLAIN_NAMES.get(model.activation, "gelu"),
        "scale_embedding": model.embedding_scale not in (None, 1.0),
        "tie_word_embeddings": model.tied,
        "logits_bias": model.head_bias,
        "is_encoder_decoder": True,
    }


def _attention(name: str, at: Layer, ours: str) -> list[Rule]:
    rules: list[Rule] = []
    for theirs, part in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out")):
        rules += linear(f"{name}.{theirs}", at, f"{ours}.{part}")
    return rules


def _block(name: str, at: Layer, cross: bool) -> list[Rule]:
    rules = [
        *_attention(f"{name}.self_attn", at, "attention"),
        *layer_norm(f"{name}.self_attn_layer_norm", at, "attention_norm"),
        *linear(f"{name}.fc1", at, "mlp.up"),
        *linear(f"{name}.fc2", at, "mlp.down"),
        *layer_norm(f"{name}.final_layer_norm", at, "mlp_norm"),
    ]
    if cross:
        rules += _attention(f"{name}.encoder_attn", at, "cross")
        rules += layer_norm(f"{name}.encoder_attn_layer_norm", at, "cross_norm")
    return rules


def _body(model: TransformerConfig, fields: Fields, layer: Stacks) -> list[Rule]:
    rules = [flat(LOGITS_BIAS, Leaf("head_bias"))] if model.head_bias else []
    for stack, layers in (("encoder", model.depth_of_encoder), ("decoder", model.layers)):
        rules.append(after_rows(f"model.{stack}.embed_positions.weight", Leaf(f"{stack}.positions"), OFFSET))
        rules += layer_norm(f"model.{stack}.layernorm_embedding", whole, f"{stack}.embedding_norm")
        for index in range(layers):
            rules += _block(f"model.{stack}.layers.{index}", layer(stack, index), stack == "decoder")
    return rules


def _has_logits_bias(given: Fields, tensors: Mapping[str, np.ndarray]) -> Fields:
    """Their bias never learns; where it is zero there is none."""
    return {"logits_bias": bool(np.any(tensors.get(LOGITS_BIAS, 0)))}


BART = Architecture(
    name="bart",
    classes=("BartForConditionalGeneration",),
    known={
        "vocab_size": 50265,
        "max_position_embeddings": 1024,
        "d_model": 1024,
        "encoder_layers": 12,
        "encoder_ffn_dim": 4096,
        "encoder_attention_heads": 16,
        "decoder_layers": 12,
        "decoder_ffn_dim": 4096,
        "decoder_attention_heads": 16,
        "activation_function": "gelu",
        "scale_embedding": False,
        "tie_word_embeddings": True,
    },
    fixed={
        "is_encoder_decoder": (True,),
        # Of older files; transformers computes these and no others.
        "normalize_before": (False,),
        "normalize_embedding": (True,),
        "add_final_layer_norm": (False,),
        "add_bias_logits": (False,),
        "static_position_embeddings": (False,),
        "extra_pos_embeddings": (OFFSET,),
    },
    observe=_has_logits_bias,
    read=_read,
    write=_write,
    body=_body,
    embedding="model.shared.weight",
    head="lm_head.weight",
    copies={
        "model.encoder.embed_tokens.weight": "model.shared.weight",
        "model.decoder.embed_tokens.weight": "model.shared.weight",
    },
    unused=(LOGITS_BIAS,),
    renames=((r"^(shared|encoder|decoder)\.", r"model.\1."),),
)
