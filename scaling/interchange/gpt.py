"""GPT-1 and GPT-2: one fused map to queries, keys and values, kept as (in, out)."""

from scaling.config import TransformerConfig
from scaling.interchange.architecture import Architecture
from scaling.interchange.fields import PLAIN, PLAIN_NAMES, Fields, chosen, unless
from scaling.interchange.rules import Layer, Leaf, Rule, Stacks, copied, fused, layer_norm, whole

# GPT-1's file calls the tanh form by the name that stands for the exact one elsewhere.
GPT1_ACTIVATIONS = {"gelu": "gelu", "relu": "relu"}


def _read(fields: Fields, activation: str, **options: object) -> TransformerConfig:
    dim = fields["n_embd"]
    return TransformerConfig(
        vocab=fields["vocab_size"],
        dim=dim,
        layers=fields["n_layer"],
        heads=fields["n_head"],
        context=fields["n_positions"],
        positions="learned",
        activation=activation,
        norm="layernorm",
        norm_eps=fields["layer_norm_epsilon"],
        biases=True,
        tied=fields["tied"],
        init="normal",
        **options,
    )


def _read_gpt1(fields: Fields) -> TransformerConfig:
    return _read(fields, chosen("afn", fields["afn"], GPT1_ACTIVATIONS), norm_place="post")


def _read_gpt2(fields: Fields) -> TransformerConfig:
    activation = chosen("activation_function", fields["activation_function"], PLAIN)
    return _read(
        fields,
        activation,
        mlp_dim=unless(fields["n_inner"], 4 * fields["n_embd"]),
        attention_scale=None if fields["scale_attn_weights"] else 1.0,
    )


def _write(model: TransformerConfig) -> Fields:
    return {
        "vocab_size": model.vocab,
        "n_embd": model.dim,
        "n_layer": model.layers,
        "n_head": model.heads,
        "n_positions": model.context,
        "layer_norm_epsilon": model.norm_eps,
        "tie_word_embeddings": model.tied,
    }


def _write_gpt1(model: TransformerConfig) -> Fields:
    return _write(model) | {"afn": "relu" if model.activation == "relu" else "gelu"}


def _write_gpt2(model: TransformerConfig) -> Fields:
    return _write(model) | {
        "activation_function": PLAIN_NAMES.get(model.activation, "gelu_new"),
        "n_inner": model.hidden_dim,
        "scale_attn_weights": model.attention_scale != 1.0,
    }


def _conv(name: str, layer: Layer, path: str) -> list[Rule]:
    """A linear map that their file keeps as ours does."""
    return [copied(f"{name}.weight", layer(f"{path}.kernel")), copied(f"{name}.bias", layer(f"{path}.bias"))]


def _block(name: str, at: Layer) -> list[Rule]:
    maps = ("query", "key", "value")
    return [
        fused(f"{name}.attn.c_attn.weight", *(at(f"attention.{part}.kernel") for part in maps)),
        fused(f"{name}.attn.c_attn.bias", *(at(f"attention.{part}.bias") for part in maps)),
        *_conv(f"{name}.attn.c_proj", at, "attention.out"),
        *layer_norm(f"{name}.ln_1", at, "attention_norm"),
        *_conv(f"{name}.mlp.c_fc", at, "mlp.up"),
        *_conv(f"{name}.mlp.c_proj", at, "mlp.down"),
        *layer_norm(f"{name}.ln_2", at, "mlp_norm"),
    ]


def _body(positions: str, model: TransformerConfig, layer: Stacks) -> list[Rule]:
    rules = [copied(positions, Leaf("decoder.positions"))]
    for index in range(model.layers):
        rules += _block(f"transformer.h.{index}", layer("decoder", index))
    return rules


GPT1 = Architecture(
    name="openai-gpt",
    classes=("OpenAIGPTLMHeadModel",),
    known={
        "vocab_size": 40478,
        "n_positions": 512,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "afn": "gelu",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
    read=_read_gpt1,
    write=_write_gpt1,
    body=lambda model, fields, layer: _body("transformer.positions_embed.weight", model, layer),
    embedding="transformer.tokens_embed.weight",
    head="lm_head.weight",
    buffers=(r".*\.attn\.bias", r".*position_ids"),
    renames=((r"^(tokens_embed|positions_embed|h)\.", r"transformer.\1."),),
)

GPT2 = Architecture(
    name="gpt2",
    classes=("GPT2LMHeadModel",),
    known={
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "tie_word_embeddings": True,
    },
    fixed={"scale_attn_by_inverse_layer_idx": (False,), "is_decoder": (False, True)},
    read=_read_gpt2,
    write=_write_gpt2,
    body=lambda model, fields, layer: (
        _body("transformer.wpe.weight", model, layer) + layer_norm("transformer.ln_f", whole, "decoder.final_norm")
    ),
    embedding="transformer.wte.weight",
    head="lm_head.weight",
    fresh={"bos_token_id": None, "eos_token_id": None},
    buffers=(r".*\.attn\.(masked_)?bias",),
    renames=((r"^(wte|wpe|h|ln_f)\.", r"transformer.\1."),),
)
