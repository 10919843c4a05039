"""Every family of transformers, by its options: who sees whom, what is counted, how weights begin."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import Experts, RopeScaling, TransformerConfig
from scaling.counts import params
from scaling.models.families import init, logits, sentence_logits, states
from scaling.models.head import token_losses
from scaling.models.inputs import PADDING, Inputs

BASE = TransformerConfig(vocab=300, dim=16, layers=2, heads=2, context=24)
LAYERNORM = {"norm": "layernorm", "biases": True}
GPT1 = LAYERNORM | {"norm_place": "post", "positions": "learned", "activation": "gelu"}
BERT = LAYERNORM | {
    "architecture": "encoder",
    "norm_place": "post",
    "positions": "learned",
    "activation": "gelu_exact",
    "embedding_norm": True,
    "token_types": 2,
    "head_transform": True,
    "head_bias": True,
    "sentence_head": True,
}
T5 = {"architecture": "encoder_decoder", "positions": "t5", "activation": "relu", "attention_scale": 1.0, "init": "t5"}
DECODERS = {
    "llama": {},
    "llama 3": {"kv_heads": 1, "rope_scaling": RopeScaling(kind="llama3", original_context=16), "tied": False},
    "gpt 1": GPT1,
    "gpt 2": LAYERNORM | {"positions": "learned", "activation": "gelu"},
    "gpt 3": LAYERNORM | {"positions": "learned", "activation": "gelu", "window": 5, "global_every": 2},
    "vaswani's decoder": {"positions": "sinusoidal", "tied": False},
    "qwen": {"heads": 4, "kv_heads": 2, "qk_norm": True, "qkv_biases": True, "head_size": 6},
    "gemma": {
        "norm_place": "sandwich",
        "attention_softcap": 5.0,
        "logit_softcap": 5.0,
        "window": 6,
        "global_every": 2,
        "activation": "geglu",
        "embedding_scale": 4.0,
    },
    "windows in another rhythm": {"layers": 3, "window": 4, "global_every": 2},
    "alibi": {"positions": "alibi", "heads": 4},
    "t5's buckets": {"positions": "t5"},
    "no positions": {"positions": "none"},
    "wide": {"mlp_dim": 40, "layers": 1, "norm": "layernorm"},
    "experts": {"moe": Experts(experts=4)},
    "switch": {"moe": Experts(experts=4, active=1, every=2, renormalise=False)},
}
ENCODERS = {
    "bert": BERT,
    "modern": {"architecture": "encoder", "activation": "geglu", "norm": "layernorm"},
}
BOTH = {
    "original": LAYERNORM
    | {"architecture": "encoder_decoder", "norm_place": "post", "positions": "sinusoidal", "activation": "relu"},
    "t5": T5 | {"logit_scale": 0.25},
    "t5 1.1": T5 | {"activation": "geglu", "tied": False, "encoder_layers": 1},
    "bart": LAYERNORM
    | {
        "architecture": "encoder_decoder",
        "norm_place": "post",
        "positions": "learned",
        "activation": "gelu_exact",
        "embedding_norm": True,
    },
    "shared": {"architecture": "encoder_decoder", "shared_layers": True},
}
EVERY = DECODERS | ENCODERS | BOTH | {"prefix": {"architecture": "prefix"}}


@partial(jax.jit, static_argnums=0)
def outputs(model, weights, inputs):
    """Logits (B, T, V)."""
    found = states(model, weights, inputs)
    return logits(model, weights, found.x_BTD.reshape(-1, model.dim)).reshape(*inputs.tokens_BT.shape, model.vocab)


def made(variants):
    """A fixture of every variant: the model, its weights, and inputs."""

    @pytest.fixture(scope="module", params=variants)
    def built(request):
        model = replace(BASE, **variants[request.param])
        tokens = jax.random.randint(jax.random.key(1), (3, 24), 0, 300)
        inputs = Inputs(tokens)
        if model.architecture == "encoder_decoder":
            inputs = Inputs(tokens, source_BS=jax.random.randint(jax.random.key(2), (3, 20), 0, 300))
        if model.architecture == "prefix":
            inputs = Inputs(tokens, prefix_B=jnp.array([4, 8, 12]))
        return model, init(model, 0), inputs  # op by op: compiled as a whole it takes five times as long

    return built


# One of each way through the layers: the others differ in what is tested above.
FEW = {name: EVERY[name] for name in ("gemma", "switch", "bert", "t5", "shared")}

decoder, encoder, both, every, few = made(DECODERS), made(ENCODERS), made(BOTH), made(EVERY), made(FEW)


def other(tokens_BT, places):
    """The tokens with those at some places replaced."""
    return tokens_BT.at[:, places].set((tokens_BT[:, places] + 1) % 300)


def test_the_parameters_are_those_that_are_counted(every):
    model, weights, _ = every
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == params(model).total


def test_the_future_does_not_change_a_decoders_prediction(decoder):
    model, weights, inputs = decoder
    changed = inputs._replace(tokens_BT=other(inputs.tokens_BT, slice(10, None)))
    before, after = outputs(model, weights, inputs), outputs(model, weights, changed)
    np.testing.assert_array_equal(before[:, :10], after[:, :10])
    assert np.abs(before[:, 10:] - after[:, 10:]).max() > 1e-4


def test_the_future_does_not_change_what_a_decoder_says_of_a_source(both):
    model, weights, inputs = both
    changed = inputs._replace(tokens_BT=other(inputs.tokens_BT, slice(10, None)))
    before, after = outputs(model, weights, inputs), outputs(model, weights, changed)
    np.testing.assert_array_equal(before[:, :10], after[:, :10])


def test_a_decoder_reads_all_of_its_source(both):
    model, weights, inputs = both
    before = outputs(model, weights, inputs)
    for place in (0, 19):
        after = outputs(model, weights, inputs._replace(source_BS=other(inputs.source_BS, place)))
        assert np.abs(before[:, 0] - after[:, 0]).max() > 1e-6


def test_padding_of_the_source_does_not_change_a_prediction():
    model = replace(BASE, **BOTH["t5"])
    weights, tokens = init(model, 0), jax.random.randint(jax.random.key(1), (3, 24), 0, 300)
    inputs = Inputs(tokens, source_BS=tokens[:, 4:])
    padded = inputs._replace(source_documents_BS=jnp.where(jnp.arange(20) < 15, 0, PADDING)[None].repeat(3, axis=0))
    changed = padded._replace(source_BS=other(inputs.source_BS, slice(15, None)))
    np.testing.assert_array_equal(outputs(model, weights, padded), outputs(model, weights, changed))


def test_an_encoder_sees_both_ways_and_no_padding(encoder):
    model, weights, inputs = encoder
    padded = inputs._replace(documents_BT=jnp.where(jnp.arange(24) < 20, 0, PADDING)[None].repeat(3, axis=0))
    before = outputs(model, weights, padded)
    ahead = outputs(model, weights, padded._replace(tokens_BT=other(inputs.tokens_BT, 19)))
    behind = outputs(model, weights, padded._replace(tokens_BT=other(inputs.tokens_BT, slice(20, None))))
    assert np.abs(before[:, 0] - ahead[:, 0]).max() > 1e-6
    np.testing.assert_array_equal(before[:, :20], behind[:, :20])


def test_a_prefix_is_seen_from_everywhere_and_the_rest_from_behind():
    model = replace(BASE, architecture="prefix")
    weights, tokens = init(model, 0), jax.random.randint(jax.random.key(1), (3, 24), 0, 300)
    inputs = Inputs(tokens, prefix_B=jnp.array([8, 8, 8]))
    before = outputs(model, weights, inputs)
    in_prefix = outputs(model, weights, inputs._replace(tokens_BT=other(tokens, 7)))
    after_it = outputs(model, weights, inputs._replace(tokens_BT=other(tokens, slice(10, None))))
    assert np.abs(before[:, 0] - in_prefix[:, 0]).max() > 1e-6
    np.testing.assert_array_equal(before[:, :10], after_it[:, :10])


def test_other_documents_do_not_change_a_prediction():
    model = replace(BASE, window=16, global_every=2)
    weights, inputs = init(model, 0), Inputs(jax.random.randint(jax.random.key(1), (3, 24), 0, 300))
    documents = jnp.repeat(jnp.array([0, 1]), 12)[None].repeat(3, axis=0)
    one = inputs._replace(documents_BT=documents)
    two = one._replace(tokens_BT=other(inputs.tokens_BT, slice(0, 12)))
    np.testing.assert_array_equal(outputs(model, weights, one)[:, 12:], outputs(model, weights, two)[:, 12:])


def test_a_prediction_depends_on_order_except_without_positions(decoder):
    model, weights, inputs = decoder
    tokens = inputs.tokens_BT
    swapped = inputs._replace(tokens_BT=tokens.at[:, 0].set(tokens[:, 1]).at[:, 1].set(tokens[:, 0]))
    # One causal layer would tell a mere set; two see the order through the first's causal mask.
    differs = np.abs(outputs(model, weights, inputs)[:, 5] - outputs(model, weights, swapped)[:, 5]).max()
    assert differs > 1e-7


def test_a_fresh_model_predicts_about_uniformly(every):
    model, weights, inputs = every
    found = outputs(model, weights, inputs)
    loss = token_losses(found.reshape(-1, 300), jnp.roll(inputs.tokens_BT, -1, axis=1).reshape(-1)).mean()
    if model.init == "t5" and model.tied:  # embeddings of size 1: logits of a variance well above 0
        assert np.log(300) < loss < np.log(300) + 16
    else:
        # Logits of a fresh head have a variance well below one: the loss is log V plus half of it.
        assert loss == pytest.approx(np.log(300), rel=0.1)


def test_scanned_and_unrolled_layers_are_one_model(few, monkeypatch):
    model, weights, inputs = few
    unrolled = outputs(model, weights, inputs)
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "other")
        scanned = jax.jit(partial(outputs.__wrapped__, model))(weights, inputs)
    # The other attention sums in another order too: float32 over 24 keys and 2 layers.
    np.testing.assert_allclose(scanned, unrolled, atol=3e-5, rtol=2e-4)


def test_bfloat16_states_are_those_of_float32_to_its_precision(few):
    model, weights, inputs = few
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), weights)
    full = jax.jit(states, static_argnums=0)(model, weights, inputs).x_BTD
    found = jax.jit(states, static_argnums=0)(model, half, inputs).x_BTD
    assert found.dtype == jnp.bfloat16
    # 8 significant bits over some ten roundings in a row; routing may send a token to another expert.
    assert np.median(np.abs(found.astype(jnp.float32) - full)) < 0.02 * np.std(full)


def test_a_window_is_all_that_one_layer_sees():
    model = replace(BASE, layers=1, window=4, positions="none")
    weights, tokens = init(model, 0), jax.random.randint(jax.random.key(1), (1, 24), 0, 300)
    before = outputs(model, weights, Inputs(tokens))
    after = outputs(model, weights, Inputs(other(tokens, 8)))
    seen = np.abs(before - after).max(axis=(0, 2)) > 0
    assert np.flatnonzero(seen).tolist() == [8, 9, 10, 11]


def test_shared_layers_are_the_decoders_own():
    model = replace(BASE, architecture="encoder_decoder", shared_layers=True)
    weights = init(model, 0)
    assert set(weights["encoder"]) == {"final_norm"}
    separate = params(replace(model, shared_layers=False)).body
    # Cross-attention is the decoder's alone, so sharing saves less than half.
    assert 0.5 < params(model).body / separate < 0.65


def test_only_the_first_state_speaks_of_sentences():
    model = replace(BASE, **BERT)
    weights = init(model, 0)
    x_BTD = jax.random.normal(jax.random.key(0), (3, 24, 16))
    found = sentence_logits(model, weights, x_BTD)
    assert found.shape == (3, 2)
    np.testing.assert_array_equal(found, sentence_logits(model, weights, x_BTD.at[:, 1:].add(1.0)))


def test_an_initialisation_is_a_function_of_its_seed_alone():
    first, again, another = (init(BASE, seed) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert np.abs(first["embedding"] - another["embedding"]).max() > 0


def test_initial_weights_have_the_stated_spread():
    model = replace(BASE, dim=128, heads=4, layers=4, vocab=1000)
    weights = init(model, 0)
    layer = weights["decoder"]["blocks"]["0"]
    spread = {
        "embedding": (weights["embedding"], 0.02),
        "query": (layer["attention"]["query"]["kernel"], 128**-0.5),
        "out": (layer["attention"]["out"]["kernel"], 128**-0.5 / 8**0.5),
        "down": (layer["mlp"]["down"]["kernel"], model.hidden_dim**-0.5 / 8**0.5),
    }
    for name, (values, std) in spread.items():
        # 65,536 draws or more: their standard deviation is known to 0.3%, so 2% is seven sigma.
        assert float(values.std()) == pytest.approx(std, rel=0.02), name


def test_capped_logits_stay_below_the_cap():
    model = replace(BASE, logit_softcap=0.01)
    tokens = jax.random.randint(jax.random.key(1), (3, 24), 0, 300)
    assert np.abs(outputs(model, init(model, 0), Inputs(tokens))).max() <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 2])
def test_the_share_of_dropped_visits_is_a_mean_over_the_layers_with_experts(every):
    inputs = Inputs(jax.random.randint(jax.random.key(1), (3, 24), 0, 300))
    one, four = (
        replace(BASE, layers=layers * every, moe=Experts(experts=2, active=1, capacity=0.5, every=every))
        for layers in (1, 4)
    )
    found = [states(model, init(model, 0), inputs).routing for model in (one, four)]
    # Half of the slots that are needed: at least half of the visits are dropped in every layer, and never all.
    assert all(0.5 <= float(routing.dropped) < 1 for routing in found)
    assert float(found[1].loss) > 2 * float(found[0].loss)  # losses are summed
