"""What single architectures honour and refuse; the numbers behind it are compared in the references."""

import pytest

from scaling.interchange.fields import understood
from scaling.interchange.theirs import ARCHITECTURES, SAID


def read(name, **given):
    """Our config of a config.json that says only this."""
    architecture = ARCHITECTURES[name]
    fields = understood(name, given, architecture.known, architecture.fixed)
    said = {SAID: fields["tie_word_embeddings"], "sentence_head": False, "logits_bias": False}
    return architecture.read(said | fields)


def test_defaults_are_the_published_shapes():
    assert (read("gpt2").dim, read("gpt2").layers, read("gpt2").context) == (768, 12, 1024)
    assert read("llama").hidden_dim == 11008 and read("llama").tied is False
    assert read("qwen3").head_dim == 128 and read("qwen3").qk_norm
    assert read("gemma2").window_of(0) == 4096 and read("gemma2").window_of(1) is None
    assert read("gemma2").attention_scale == 1 / 16 and read("gemma2").embedding_scale == pytest.approx(48)
    assert read("mixtral").moe.experts == 8 and read("mixtral").rope_base == 1e6
    assert read("t5", tie_word_embeddings=True).position_distance == 128
    assert read("bart").depth_of_encoder == 12 and read("bert").norm_eps == 1e-12


def test_gpt1_calls_the_tanh_form_gelu_and_has_no_silu():
    assert (
        read("openai-gpt").activation == "gelu" and read("gpt2", activation_function="gelu").activation == "gelu_exact"
    )
    with pytest.raises(ValueError, match="afn='silu' cannot be expressed here; gelu, relu can"):
        read("openai-gpt", afn="silu")


def test_gpt2_scores_without_a_scale_are_honoured_and_scales_by_layer_refused():
    assert read("gpt2", scale_attn_weights=False).attention_scale == 1.0
    with pytest.raises(ValueError, match="scale_attn_by_inverse_layer_idx=True"):
        read("gpt2", scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(ValueError, match="add_cross_attention=True"):
        read("gpt2", add_cross_attention=True)


def test_a_gate_with_an_activation_that_we_lack_is_refused():
    for name, field in (("llama", "hidden_act"), ("gemma2", "hidden_activation"), ("mixtral", "hidden_act")):
        with pytest.raises(ValueError, match=f"{field}='relu' cannot be expressed here"):
            read(name, **{field: "relu"})
    with pytest.raises(ValueError, match="feed_forward_proj='relu' cannot be expressed"):
        read("t5", feed_forward_proj="gated-relu")


def test_gemma2_may_have_no_caps_but_not_see_ahead():
    config = read("gemma2", attn_logit_softcapping=None, final_logit_softcapping=None)
    assert config.attention_softcap is None and config.logit_softcap is None
    with pytest.raises(ValueError, match="use_bidirectional_attention=True"):
        read("gemma2", use_bidirectional_attention=True)


def test_qwen_layers_slide_as_named_or_from_a_layer_on():
    sliding = {"use_sliding_window": True, "sliding_window": 64, "num_hidden_layers": 4}
    assert read("qwen3", sliding_window=64).window is None  # not in use
    assert read("qwen3", **sliding, max_window_layers=0).window == 64
    assert read("qwen2", **sliding, max_window_layers=4).window is None
    named = ["sliding_attention", "full_attention"] * 2
    assert read("qwen2", **sliding, layer_types=named).global_every == 2
    with pytest.raises(ValueError, match=r"max_window_layers: that layers \[0, 1\] of 4 see everything"):
        read("qwen3", **sliding, max_window_layers=2)


def test_mistral_and_mixtral_slide_in_every_layer():
    assert read("mistral").window == 4096 and read("mistral", sliding_window=None).window is None
    assert read("mixtral", sliding_window=32).window_of(1) == 32


def test_positions_of_roberta_begin_after_the_padding_id():
    assert read("roberta", max_position_embeddings=514).context == 512
    assert read("roberta", max_position_embeddings=514, pad_token_id=3).context == 510


def test_the_head_of_roberta_has_the_exact_gelu_whatever_the_layers_have():
    with pytest.raises(ValueError, match="hidden_act='relu' cannot be expressed here: its head always has"):
        read("roberta", hidden_act="relu")
    assert read("bert", hidden_act="relu").activation == "relu"


def test_encoders_are_no_decoders_and_have_absolute_positions():
    for name in ("bert", "roberta"):
        with pytest.raises(ValueError, match="is_decoder=True"):
            read(name, is_decoder=True)
        with pytest.raises(ValueError, match="position_embedding_type='relative_key'"):
            read(name, position_embedding_type="relative_key")


def test_t5_scales_its_states_unless_told_not_to():
    assert read("t5", d_model=64).logit_scale == 1 / 8
    assert read("t5", d_model=64, tie_word_embeddings=False).logit_scale is None  # how older files tell 1.1
    assert read("t5", d_model=64, scale_decoder_outputs=False, tie_word_embeddings=True).logit_scale is None
    assert read("t5", d_model=64, scale_decoder_outputs=True, tie_word_embeddings=False).logit_scale == 1 / 8


@pytest.mark.parametrize(
    ("said", "ours"),
    [("relu", "relu"), ("gelu", "gelu_exact"), ("gated-gelu", "geglu"), ("gated-silu", "swiglu"), ("gelu_new", "gelu")],
)
def test_t5_projections(said, ours):
    assert read("t5", feed_forward_proj=said).activation == ours


def test_what_t5_derives_from_its_projection_may_be_written_too():
    given = {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new", "is_gated_act": True}
    assert read("t5", **given).activation == "geglu"
    assert read("t5", **given | {"dense_act_fn": "silu"}).activation == "swiglu"  # as transformers decides


def test_bart_has_one_shape_on_both_sides():
    with pytest.raises(ValueError, match=r"encoder_attention_heads=8 .*decoder_attention_heads=16 differs"):
        read("bart", encoder_attention_heads=8)
    with pytest.raises(ValueError, match=r"encoder_ffn_dim=8 .*decoder_ffn_dim=4096 differs"):
        read("bart", encoder_ffn_dim=8)
    with pytest.raises(ValueError, match="normalize_before=True"):
        read("bart", normalize_before=True)
    assert read("bart", scale_embedding=True).embedding_scale == 32


def test_a_width_that_transformers_refuses_is_not_written():
    config = read("llama", hidden_size=18, num_attention_heads=4, head_dim=4)
    with pytest.raises(ValueError, match="dim=18 is no multiple of heads=4"):
        ARCHITECTURES["llama"].write(config)
