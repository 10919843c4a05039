"""T5: relative positions, scores without a scale. Version 1.0 scales the states before the head, 1.1 does not."""

from scaling.config import TransformerConfig
from scaling.interchange.architecture import Architecture
from scaling.interchange.fields import GATED, PLAIN, Fields, chosen, unless
from scaling.interchange.rules import Layer, Leaf, Rule, Stacks, copied, linear

PROJECTIONS = {
    "relu": "relu",
    "gelu": "gelu_new",
    "gelu_exact": "gelu",
    "geglu": "gated-gelu",
    "swiglu": "gated-silu",
}


def _read(fields: Fields) -> TransformerConfig:
    dim, heads, decoder = fields["d_model"], fields["num_heads"], fields["num_decoder_layers"]
    layers = decoder or fields["num_layers"]
    return TransformerConfig(
        architecture="encoder_decoder",
        vocab=fields["vocab_size"],
        dim=dim,
        layers=layers,
        encoder_layers=unless(fields["num_layers"], layers),
        heads=heads,
        head_size=None if fields["d_kv"] * heads == dim else fields["d_kv"],
        context=fields["n_positions"],
        attention_scale=1.0,
        positions="t5",
        position_buckets=fields["relative_attention_num_buckets"],
        position_distance=fields["relative_attention_max_distance"],
        mlp_dim=fields["d_ff"],
        activation=_activation(fields),
        norm_eps=fields["layer_norm_epsilon"],
        tied=fields["tied"],
        logit_scale=dim**-0.5 if _scales(fields) else None,
        init="t5",
    )


def _activation(fields: Fields) -> str:
    """`feed_forward_proj`, unless the two fields that transformers derives from it say otherwise."""
    said = fields["feed_forward_proj"]
    gated, name = said.startswith("gated-"), said.removeprefix("gated-")
    name = "gelu_new" if said == "gated-gelu" else name
    gated = gated if fields["is_gated_act"] is None else fields["is_gated_act"]
    field = "feed_forward_proj" if fields["dense_act_fn"] is None else "dense_act_fn"
    return chosen(field, fields["dense_act_fn"] or name, GATED if gated else PLAIN)


def _scales(fields: Fields) -> bool:
    """Older files tell version 1.1 by `tie_word_embeddings` alone."""
    scales = fields["scale_decoder_outputs"]
    return fields["tie_word_embeddings"] is not False if scales is None else scales


def _write(model: TransformerConfig) -> Fields:
    projection = PROJECTIONS[model.activation]
    return {
        "vocab_size": model.vocab,
        "d_model": model.dim,
        "d_kv": model.head_dim,
        "d_ff": model.hidden_dim,
        "num_layers": model.depth_of_encoder or model.layers,
        "num_decoder_layers": model.layers,
        "num_heads": model.heads,
        "n_positions": model.context,
        "relative_attention_num_buckets": model.position_buckets,
        "relative_attention_max_distance": model.position_distance,
        "layer_norm_epsilon": model.norm_eps,
        "feed_forward_proj": projection,
        "tie_word_embeddings": model.tied,
        "tied": model.tied,
        "scale_decoder_outputs": model.logit_scale is not None,
        "is_encoder_decoder": True,
    }


def _attention(name: str, theirs: str, at: Layer, ours: str, norm: str) -> list[Rule]:
    rules = [copied(f"{name}.layer_norm.weight", at(f"{norm}.scale"))]
    for letter, part in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "out")):
        rules += linear(f"{name}.{theirs}.{letter}", at, f"{ours}.{part}", bias=False)
    return rules


def _mlp(model: TransformerConfig, name: str, at: Layer) -> list[Rule]:
    maps = {"wi_0": "gate", "wi_1": "up", "wo": "down"} if model.gated else {"wi": "up", "wo": "down"}
    rules = [copied(f"{name}.layer_norm.weight", at("mlp_norm.scale"))]
    for theirs, part in maps.items():
        rules += linear(f"{name}.DenseReluDense.{theirs}", at, f"mlp.{part}", bias=False)
    return rules


def _stack(stack: str, layers: int, model: TransformerConfig, layer: Stacks) -> list[Rule]:
    first = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    rules = [
        copied(first, Leaf(f"{stack}.relative_bias")),
        copied(f"{stack}.final_layer_norm.weight", Leaf(f"{stack}.final_norm.scale")),
    ]
    for index in range(layers):
        name, at = f"{stack}.block.{index}.layer", layer(stack, index)
        rules += _attention(f"{name}.0", "SelfAttention", at, "attention", "attention_norm")
        if stack == "decoder":
            rules += _attention(f"{name}.1", "EncDecAttention", at, "cross", "cross_norm")
        rules += _mlp(model, f"{name}.{2 if stack == 'decoder' else 1}", at)
    return rules


def _body(model: TransformerConfig, fields: Fields, layer: Stacks) -> list[Rule]:
    return _stack("encoder", model.depth_of_encoder, model, layer) + _stack("decoder", model.layers, model, layer)


T5 = Architecture(
    name="t5",
    classes=("T5ForConditionalGeneration",),
    known={
        "vocab_size": 32128,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 6,
        "num_decoder_layers": None,
        "num_heads": 8,
        "n_positions": 512,  # no bound, but ours wants one
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "relu",
        "dense_act_fn": None,
        "is_gated_act": None,
        "tie_word_embeddings": None,
        "scale_decoder_outputs": None,
    },
    fixed={"is_encoder_decoder": (True,), "is_decoder": (False, True)},
    read=_read,
    write=_write,
    body=_body,
    embedding="shared.weight",
    head="lm_head.weight",
    head_may_be_absent=True,
    fresh={"decoder_start_token_id": 0},
    copies={
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    },
    # Files of the first releases hold a table that cross-attention never used.
    unused=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",),
)
