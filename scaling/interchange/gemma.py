"""Gemma 2: norms before and after each branch, scores and logits bent by a cap, every second layer slides."""

from scaling.config import TransformerConfig
from scaling.interchange.fields import Fields, layer_types_of, sliding_layers, windows_from
from scaling.interchange.llama import like_llama, read_like_llama, whole_heads, write_like_llama


def _read_gemma2(fields: Fields) -> TransformerConfig:
    kinds, layers = fields["layer_types"], fields["num_hidden_layers"]
    slides = [layer % 2 == 0 for layer in range(layers)] if kinds is None else sliding_layers(kinds, layers)
    window, every = windows_from(slides, fields["sliding_window"], "layer_types")
    return read_like_llama(
        fields,
        "hidden_activation",
        window=window,
        global_every=every,
        biases=fields["attention_bias"],
        attention_scale=fields["query_pre_attn_scalar"] ** -0.5,
        attention_softcap=fields["attn_logit_softcapping"],
        logit_softcap=fields["final_logit_softcapping"],
        norm_place="sandwich",
        embedding_scale=fields["hidden_size"] ** 0.5,
    )


def _write_gemma2(model: TransformerConfig) -> Fields:
    from scaling.models.parametrisation import attention_scale

    whole_heads(model)
    fields = write_like_llama(model)
    activation = fields.pop("hidden_act")
    return fields | {
        "hidden_activation": activation,
        "sliding_window": model.window,
        "layer_types": layer_types_of(model),
        "attention_bias": model.biases,
        "query_pre_attn_scalar": round(attention_scale(model) ** -2),  # they keep a whole number
        "attn_logit_softcapping": model.attention_softcap,
        "final_logit_softcapping": model.logit_softcap,
    }


GEMMA2 = like_llama(
    "gemma2",
    "Gemma2ForCausalLM",
    {
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 8192,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "layer_types": None,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
        "tie_word_embeddings": True,
    },
    _read_gemma2,
    _write_gemma2,
    fixed={"use_bidirectional_attention": (False,), "is_decoder": (False, True)},
)
