"""Small reference models: the class, its config, and what is unusual about it.

STORED are those whose outputs lie beside the tests, LIVE more of other
shapes, compared where torch is there. Vocabularies are larger than every
default id of a special token that matters.
"""

from typing import Any, NamedTuple


class Case(NamedTuple):
    cls: str  # of transformers, with its head
    config: str  # its config's class
    options: dict[str, Any]
    positions: int = 13  # of the longest text


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def gpt1(**options: Any) -> Case:
    shape = {"vocab_size": 41, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return Case("OpenAIGPTLMHeadModel", "OpenAIGPTConfig", shape | options)


def gpt2(**options: Any) -> Case:
    shape = {"vocab_size": 41, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return Case("GPT2LMHeadModel", "GPT2Config", shape | {"bos_token_id": 0, "eos_token_id": 0} | options)


def llama(cls: str = "Llama", **options: Any) -> Case:
    shape = {
        "vocab_size": 41,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
    }
    return Case(f"{cls}ForCausalLM", f"{cls}Config", shape | options)


def bert(cls: str = "BertForPreTraining", **options: Any) -> Case:
    shape = {
        "vocab_size": 41,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 18,
    }
    return Case(cls, "RobertaConfig" if cls.startswith("Roberta") else "BertConfig", shape | options)


def t5(**options: Any) -> Case:
    shape = {
        "vocab_size": 41,
        "d_model": 16,
        "d_kv": 6,
        "d_ff": 24,
        "num_layers": 2,
        "num_heads": 2,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 10,
    }
    return Case("T5ForConditionalGeneration", "T5Config", shape | options)


def bart(**options: Any) -> Case:
    shape = {
        "vocab_size": 41,
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 24,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "max_position_embeddings": 16,
    }
    return Case("BartForConditionalGeneration", "BartConfig", shape | options)


STORED = {
    "gpt1": gpt1(),
    "gpt2": gpt2(),
    "llama": llama(rope_parameters=LLAMA3),
    "qwen3": llama("Qwen3", head_dim=6, tie_word_embeddings=True),
    "gemma2": llama("Gemma2", head_dim=6, query_pre_attn_scalar=10, sliding_window=4, attn_logit_softcapping=3.0),
    "mixtral": llama("Mixtral", num_local_experts=3, num_experts_per_tok=2),
    "bert": bert(),
    "roberta": bert("RobertaForMaskedLM", type_vocab_size=1),
    "t5_v1_0": t5(),
    "t5_v1_1": t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "bart": bart(),
}

LONG = 150  # more than two blocks of queries, so that whole blocks of keys are left out
LIVE = {
    "long gpt2": gpt2(n_positions=LONG)._replace(positions=LONG),
    "long gemma2": llama("Gemma2", max_position_embeddings=LONG, sliding_window=20, head_dim=4)._replace(
        positions=LONG
    ),
    "long bert": bert(max_position_embeddings=LONG)._replace(positions=LONG),
    "long t5": t5(relative_attention_num_buckets=32, relative_attention_max_distance=128)._replace(positions=LONG),
    "long bart": bart(max_position_embeddings=LONG)._replace(positions=LONG),
    "gpt1 relu, three layers": gpt1(n_layer=3, n_head=4, n_embd=24, afn="relu", layer_norm_epsilon=1e-3),
    "gpt1 untied": gpt1(tie_word_embeddings=False),
    "gpt2 exact gelu, own mlp width, untied": gpt2(
        n_layer=3, n_head=3, n_embd=24, n_inner=40, activation_function="gelu", tie_word_embeddings=False
    ),
    "gpt2 relu, unscaled scores": gpt2(activation_function="relu", scale_attn_weights=False),
    "llama one key head, tied": llama(num_key_value_heads=1, tie_word_embeddings=True, num_hidden_layers=3),
    "llama all key heads, wide heads, linear rope": llama(
        num_key_value_heads=4, head_dim=6, rope_parameters={"rope_type": "linear", "rope_theta": 50.0, "factor": 2.5}
    ),
    "llama biases everywhere, geglu": llama(attention_bias=True, mlp_bias=True, hidden_act="gelu_pytorch_tanh"),
    "llama biases in attention only": llama(attention_bias=True),
    "llama biases in the mlp only": llama(mlp_bias=True, rms_norm_eps=1e-3),
    "mistral window": llama("Mistral", sliding_window=3),
    "qwen2 biases of queries, keys, values": llama("Qwen2", num_hidden_layers=3),
    "qwen3 untied, biases": llama("Qwen3", head_dim=4, attention_bias=True, num_hidden_layers=1),
    "qwen3 windows in all layers": llama(
        "Qwen3", head_dim=8, use_sliding_window=True, sliding_window=4, max_window_layers=0
    ),
    "qwen3 windows in two layers of three": llama(
        "Qwen3",
        head_dim=8,
        num_hidden_layers=3,
        use_sliding_window=True,
        sliding_window=5,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    ),
    "gemma2 three layers, own scalar": llama(
        "Gemma2", head_dim=8, num_hidden_layers=3, sliding_window=3, query_pre_attn_scalar=7, num_key_value_heads=1
    ),
    "gemma2 no soft caps, untied": llama(
        "Gemma2",
        head_dim=4,
        num_hidden_layers=4,
        sliding_window=5,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        tie_word_embeddings=False,
    ),
    "gemma2 biases, all layers slide": llama(
        "Gemma2",
        head_dim=4,
        attention_bias=True,
        sliding_window=4,
        layer_types=["sliding_attention", "sliding_attention"],
    ),
    "mixtral window, one active, wide heads": llama(
        "Mixtral", num_local_experts=5, num_experts_per_tok=1, sliding_window=4, head_dim=6, num_hidden_layers=3
    ),
    "mixtral all active, tied": llama(
        "Mixtral", num_local_experts=2, num_experts_per_tok=2, tie_word_embeddings=True, hidden_act="gelu_new"
    ),
    "bert masked, tanh gelu, four types": bert(
        "BertForMaskedLM", hidden_act="gelu_new", type_vocab_size=4, num_hidden_layers=3, num_attention_heads=4
    ),
    "bert relu, untied": bert(hidden_act="relu", tie_word_embeddings=False, layer_norm_eps=1e-3),
    "roberta untied, three layers": bert("RobertaForMaskedLM", tie_word_embeddings=False, num_hidden_layers=3),
    "roberta pads with another id": bert("RobertaForMaskedLM", pad_token_id=2, num_attention_heads=4),
    "t5 1.0 deeper decoder, more buckets": t5(
        num_layers=1, num_decoder_layers=3, relative_attention_num_buckets=32, relative_attention_max_distance=128
    ),
    "t5 1.1 gated silu, one layer": t5(
        feed_forward_proj="gated-silu", tie_word_embeddings=False, num_layers=1, d_kv=8, layer_norm_epsilon=1e-3
    ),
    "t5 exact gelu, four heads": t5(feed_forward_proj="gelu", num_heads=4, d_kv=4),
    "bart scaled embeddings, relu": bart(
        scale_embedding=True, activation_function="relu", encoder_layers=1, decoder_layers=3
    ),
    "bart tanh gelu, four heads": bart(
        activation_function="gelu_new",
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=40,
        decoder_ffn_dim=40,
    ),
}
