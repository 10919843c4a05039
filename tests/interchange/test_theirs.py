"""Which architecture a config is, what its tensors tell, and which can be written."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from scaling import interchange
from scaling.config import Experts, Parametrisation, RopeScaling, TransformerConfig
from scaling.interchange import theirs
from scaling.interchange.theirs import ARCHITECTURES, Model, misfits, to_theirs
from scaling.interchange.tree import shapes_of

LLAMA = TransformerConfig(vocab=40, dim=16, layers=2, heads=4)
GPT2 = replace(LLAMA, positions="learned", norm="layernorm", activation="gelu", biases=True)
GEMMA2 = replace(
    LLAMA, norm_place="sandwich", activation="geglu", embedding_scale=4.0, window=4, global_every=2, logit_softcap=30.0
)
BERT = replace(
    GPT2,
    architecture="encoder",
    norm_place="post",
    embedding_norm=True,
    token_types=2,
    head_transform=True,
    head_bias=True,
)
T5 = replace(
    LLAMA, architecture="encoder_decoder", positions="t5", activation="relu", attention_scale=1.0, logit_scale=0.25
)
BART = replace(GPT2, architecture="encoder_decoder", norm_place="post", embedding_norm=True, norm_eps=1e-5)

OURS = {
    "llama": LLAMA,
    "llama with another rope": replace(LLAMA, rope_scaling=RopeScaling(kind="ntk", factor=2.0)),
    "gpt2": GPT2,
    "openai-gpt": replace(GPT2, norm_place="post"),
    "mistral": replace(LLAMA, window=4),
    "qwen2": replace(LLAMA, qkv_biases=True),
    "qwen3": replace(LLAMA, qk_norm=True, head_size=6),
    "gemma2": GEMMA2,
    "mixtral": replace(LLAMA, moe=Experts(experts=4)),
    "bert": BERT,
    "bert with a sentence head": replace(BERT, sentence_head=True),
    "t5": T5,
    "t5 as in 1.1": replace(T5, activation="geglu", logit_scale=None, tied=False),
    "bart": BART,
    "bart with biased logits": replace(BART, head_bias=True, embedding_scale=4.0, encoder_layers=1),
}

# What the first that fits cannot express.
MISFITS = {
    "window": (replace(GPT2, window=4), "gpt2", r"window=\(4, 4\), not \(None, None\)"),
    "sinusoids": (replace(GPT2, positions="sinusoidal"), "gpt2", "positions=sinusoidal, not learned"),
    "width of attention": (replace(GPT2, head_size=6), "gpt2", "head_size=6, not 4"),
    "shared layers": (replace(T5, shared_layers=True), "t5", "shared_layers=True, not False"),
    "prefix": (replace(LLAMA, architecture="prefix"), "llama", "architecture=prefix, not decoder"),
    "own layers without experts": (
        replace(LLAMA, moe=Experts(experts=4, every=2)),
        "mixtral",
        r"moe=\(False, True\), not \(True, True\)",
    ),
    "dropped tokens": (replace(LLAMA, moe=Experts(experts=4, capacity=1.0)), "mixtral", "moe.capacity=1.0, not None"),
    "depth": (
        replace(LLAMA, parametrisation=Parametrisation(depth="sqrt", base_layers=1)),
        "llama",
        "parametrisation.depth=0.7",
    ),
    "soft cap": (replace(LLAMA, attention_softcap=9.0), "llama", "attention_softcap=9.0, not None"),
    "scores": (replace(GEMMA2, attention_scale=0.3), "gemma2", "attention_scale=0.3, not"),
    "no gate": (replace(LLAMA, activation="relu"), "llama", "activation=relu, not swiglu"),
    "period": (replace(BERT, activation="geglu"), "bert", "activation=geglu, not"),
}


def model_of(config, seed=0):
    draw = np.random.default_rng(seed)
    params = {path: draw.normal(size=shape).astype(np.float32) for path, shape in shapes_of(config).items()}
    return Model(config=config, params=params)


def test_an_unknown_model_type_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"model_type='mamba' is not known; there are bart, bert, .*t5$"):
        theirs.recognise({"model_type": "mamba"})


def test_a_model_with_another_head_is_refused():
    assert theirs.recognise({"model_type": "gpt2"}).name == "gpt2"
    with pytest.raises(ValueError, match=r"architectures=\['GPT2ForSequenceClassification'\] is not known; of gpt2"):
        theirs.recognise({"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]})


@pytest.mark.parametrize("name", OURS)
def test_a_model_of_ours_is_written_as_the_first_that_fits_and_read_again(name, tmp_path):
    model = model_of(OURS[name])
    assert interchange.write_theirs(model, tmp_path / "theirs") == name.split()[0]
    again = interchange.read(tmp_path / "theirs")
    assert not theirs.differences(model.config, again.config)
    for path, value in model.params.items():
        # Gemma's scales have one taken away and added again.
        np.testing.assert_allclose(again.params[path], value, atol=1e-6 if name == "gemma2" else 0)


@pytest.mark.parametrize("name", MISFITS)
def test_what_cannot_be_written_is_named(name):
    config, closest, said = MISFITS[name]
    with pytest.raises(ValueError, match=rf"cannot be written as {closest}, the closest .*{said}"):
        to_theirs(model_of(config))


def test_mup_is_written_only_where_its_multipliers_have_a_field():
    mup = Parametrisation(width="mup", base_dim=8)
    assert any(
        said.startswith("logit_scale=0.5")
        for said in misfits(replace(LLAMA, parametrisation=mup), ARCHITECTURES["llama"]).said
    )
    # At the base width the logits have no multiplier, and gemma2 has a field for the scores.
    base = replace(GEMMA2, parametrisation=replace(mup, base_dim=16), heads=1)
    assert not misfits(base, ARCHITECTURES["gemma2"]).said


def test_another_architecture_may_be_asked_for(tmp_path):
    model = model_of(replace(BERT, activation="gelu_exact"))
    fields, tensors = to_theirs(model, "roberta")
    assert fields["architectures"] == ["RobertaForMaskedLM"]
    assert tensors["roberta.embeddings.position_embeddings.weight"].shape == (model.config.context + 2, 16)
    with pytest.raises(ValueError, match="cannot be written as gpt2: architecture=encoder, not decoder"):
        to_theirs(model, "gpt2")
    with pytest.raises(ValueError, match="architecture 'gpt5' is not known; there are bart"):
        to_theirs(model, "gpt5")


def test_a_config_without_biases_in_the_mlp_cannot_take_any():
    model = model_of(replace(LLAMA, qk_norm=True, biases=True))
    with pytest.raises(ValueError, match=r"parameter decoder.blocks.0.mlp.gate.bias, row 0, is not zero, and qwen3"):
        to_theirs(model)


def test_a_head_of_its_own_unties_whatever_the_config_says(written):
    head = np.random.default_rng(0).normal(size=(41, 16)).astype(np.float32)
    model = interchange.read(written("gpt2", tensors={"lm_head.weight": head}))
    assert not model.config.tied
    np.testing.assert_array_equal(model.params["head"], head)


def test_a_copy_of_the_embedding_as_head_stays_tied(written):
    from tests.interchange.conftest import stored

    embedding = stored("gpt2")[1]["weights"]["transformer.wte.weight"]
    assert interchange.read(written("gpt2", tensors={"lm_head.weight": embedding})).config.tied


def test_an_untied_config_without_a_head_is_refused_except_in_t5(written):
    with pytest.raises(ValueError, match=r"missing: lm_head.weight \(41, 16\)"):
        interchange.read(written("gpt2", {"tie_word_embeddings": False}))
    assert interchange.read(written("t5_v1_1", {"tie_word_embeddings": False})).config.tied


def test_copies_must_be_equal(written):
    other = np.zeros((41, 16), np.float32)
    with pytest.raises(ValueError, match=r"tensor encoder.embed_tokens.weight differs from shared.weight"):
        interchange.read(written("t5_v1_0", tensors={"encoder.embed_tokens.weight": other}))


def test_the_bias_that_transformers_uses_is_read(written):
    bias = np.arange(41, dtype=np.float32)
    model = interchange.read(written("bert", tensors={"cls.predictions.decoder.bias": bias}))
    np.testing.assert_array_equal(model.params["head_bias"], bias)


def test_an_untied_model_is_written_with_every_copy_that_is_read(written, tmp_path):
    head = np.random.default_rng(0).normal(size=(41, 16)).astype(np.float32)
    _, tensors = to_theirs(interchange.read(written("bart", tensors={"lm_head.weight": head})))
    embedding = tensors["model.shared.weight"]
    np.testing.assert_array_equal(tensors["model.encoder.embed_tokens.weight"], embedding)
    np.testing.assert_array_equal(tensors["model.decoder.embed_tokens.weight"], embedding)


def test_a_bias_of_the_logits_that_is_zero_is_none(written):
    model = interchange.read(written("bart", tensors={"final_logits_bias": np.zeros((1, 41), np.float32)}))
    assert not model.config.head_bias and "head_bias" not in model.params


def test_older_names_and_names_without_a_prefix_are_read(written):
    from tests.interchange.conftest import stored

    weights = stored("gpt2")[1]["weights"]
    bare = {name.removeprefix("transformer."): value for name, value in weights.items()}
    model = interchange.read(written("gpt2", tensors=dict.fromkeys(weights) | bare))
    np.testing.assert_array_equal(model.params["embedding"], weights["transformer.wte.weight"])
    name = "bert.embeddings.LayerNorm"
    scale = stored("bert")[1]["weights"][f"{name}.weight"]
    model = interchange.read(written("bert", tensors={f"{name}.weight": None, f"{name}.gamma": scale}))
    np.testing.assert_array_equal(model.params["encoder.embedding_norm.scale"], scale)


def test_a_tensor_under_two_names_is_refused(written):
    from tests.interchange.conftest import stored

    value = stored("gpt2")[1]["weights"]["transformer.wte.weight"]
    with pytest.raises(ValueError, match=r"two tensors are transformer.wte.weight, one of them by an older name"):
        interchange.read(written("gpt2", tensors={"wte.weight": value}))


def test_buffers_and_unused_poolers_are_left(written):
    mask = np.ones((1, 1, 16, 16), np.uint8)
    plain = interchange.read(written("gpt2"))
    masked = interchange.read(written("gpt2", tensors={"transformer.h.0.attn.bias": mask}))
    assert jax.tree.all(jax.tree.map(np.array_equal, masked.params, plain.params))
    pooler = {"roberta.pooler.dense.weight": np.ones((16, 16), np.float32)}
    ids = {"roberta.embeddings.position_ids": np.arange(18)[None]}
    plain, pooled = interchange.read(written("roberta")), interchange.read(written("roberta", tensors=pooler | ids))
    assert jax.tree.all(jax.tree.map(np.array_equal, pooled.params, plain.params))


def test_missing_extra_and_misshapen_tensors_are_refused_by_name(written):
    layer = "model.layers.1.mlp"
    wrong = {f"{layer}.up_proj.weight": None, f"{layer}.gate_proj.weight": np.ones((3, 16), np.float32)}
    with pytest.raises(ValueError) as error:
        interchange.read(written("llama", tensors=wrong | {"model.layers.2.mlp.up_proj.weight": np.ones(2)}))
    said = str(error.value)
    assert f"missing: {layer}.up_proj.weight (24, 16)" in said
    assert "extra: model.layers.2.mlp.up_proj.weight" in said
    assert f"misshapen: {layer}.gate_proj.weight is (3, 16) and not (24, 16)" in said


def test_a_promised_sentence_head_must_be_there_and_one_that_is_there_is_read(written):
    without = dict.fromkeys(["cls.seq_relationship.weight", "cls.seq_relationship.bias"])
    with pytest.raises(ValueError, match=r"missing: cls.seq_relationship.weight \(2, 16\)"):
        interchange.read(written("bert", tensors=without))


def test_published_files_of_the_masked_model_may_hold_the_sentence_head(written):
    assert interchange.read(written("bert", {"architectures": ["BertForMaskedLM"]})).config.sentence_head


def test_what_came_with_a_model_is_written_back(written):
    fields, _ = to_theirs(interchange.read(written("roberta", {"pad_token_id": 3, "eos_token_id": 9})))
    assert fields["pad_token_id"] == 3 and fields["eos_token_id"] == 9
    assert fields["max_position_embeddings"] == 18  # four of them before the first position


def test_a_config_that_ours_refuses_says_which_field(written):
    with pytest.raises(ValueError, match="heads=3 does not divide dim=16"):
        interchange.read(written("gpt2", {"n_head": 3}))


def test_a_size_of_another_type_is_refused(written):
    with pytest.raises(ValueError, match=r"gpt2: mlp_dim: .*found 40.5"):
        interchange.read(written("gpt2", {"n_inner": 40.5}))
