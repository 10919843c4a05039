from dataclasses import replace
from typing import get_args

import jax
import numpy as np
import pytest

from scaling.config import Experts, Parametrisation, RecurrentConfig, TransformerConfig
from scaling.models import families
from scaling.models.inputs import Inputs
from scaling.models.parametrisation import (
    Role,
    attention_scale,
    branch_scale,
    embedding_scale,
    epsilon_multipliers,
    learning_rate_multipliers,
    logit_scale,
    role,
    std,
    weight_decay_multipliers,
)

BASE = TransformerConfig(vocab=300, dim=64, layers=2, heads=4, context=16)
MATRICES = [name for name in get_args(Role) if name != "vector"]
MODELS = {
    "llama": BASE,
    "gpt2": replace(BASE, norm="layernorm", positions="learned", activation="gelu", biases=True, init="normal"),
    "bert": replace(
        BASE, architecture="encoder", positions="learned", norm="layernorm", norm_place="post", biases=True,
        embedding_norm=True, token_types=2, head_transform=True, head_bias=True, sentence_head=True,
    ),
    "t5": replace(BASE, architecture="encoder_decoder", positions="t5", tied=False, init="t5", activation="geglu"),
    "gemma": replace(BASE, norm_place="sandwich", qk_norm=True, window=4, global_every=2),
    "experts": replace(BASE, moe=Experts(experts=4, shared=1)),
}  # fmt: skip


def mup(model=BASE, *, wider=1, **changes):
    """The model, so many times wider than its base, with heads of the same size."""
    return replace(
        model, dim=model.dim * wider, heads=model.heads * wider, parametrisation=Parametrisation(width="mup", **changes)
    )


def deep(depth, *, deeper):
    return replace(BASE, layers=2 * deeper, parametrisation=Parametrisation(depth=depth))


def at(tree, path):
    for key in path.split("/"):
        tree = tree[key]
    return tree


def params(model):
    return jax.eval_shape(lambda: families.init(model, 0))


def test_the_default_begins_as_its_documentation_says():
    assert std(BASE, "hidden", 64) == std(BASE, "query", 64) == 0.125
    assert std(BASE, "residual", 256) == 0.0625 / 2  # 1 / sqrt(256) / sqrt(2 * 2 layers)
    assert std(BASE, "embedding", 64) == std(BASE, "positions", 64) == std(BASE, "output", 64) == 0.02
    assert (attention_scale(BASE), branch_scale(BASE), logit_scale(BASE), embedding_scale(BASE)) == (0.25, 1, 1, 1)


def test_gpt2_begins_with_one_number_for_all():
    model = replace(BASE, init="normal", layers=8)
    assert {std(model, name, 64) for name in MATRICES if name != "residual"} == {0.02}
    assert std(model, "residual", 256) == 0.02 / 4


def test_t5_begins_as_published():
    # Queries carry the 1/sqrt(head size) that T5's scores lack; nothing is divided by the depth.
    model = replace(BASE, init="t5", layers=8)
    assert std(model, "query", 64) == pytest.approx((64 * 16) ** -0.5, rel=1e-12)
    assert std(model, "hidden", 64) == std(model, "output", 64) == std(model, "relative_bias", 64) == 0.125
    assert std(model, "residual", 256) == 0.0625
    assert std(model, "embedding", 64) == 1


@pytest.mark.parametrize("init", ["fan_in", "normal", "t5"])
def test_at_the_base_mup_is_the_standard(init):
    standard = replace(BASE, init=init)
    base = mup(standard, depth="complete")
    for name in MATRICES:
        assert std(base, name, 64) == std(standard, name, 64), name
    for scale in (attention_scale, branch_scale, logit_scale, embedding_scale):
        assert scale(base) == scale(standard), scale
    for multipliers in (learning_rate_multipliers, weight_decay_multipliers, epsilon_multipliers):
        assert set(jax.tree.leaves(multipliers(base, params(base)))) == {1.0}


def test_four_times_wider_mup_changes_what_its_table_says():
    # Yang et al. 2022, table 8: hidden variance 1/fan_in, input and output variance constant, logits divided by m.
    wide = mup(wider=4)
    assert std(wide, "hidden", 256) == std(BASE, "hidden", 64) / 2
    assert std(wide, "residual", 1024) == std(BASE, "residual", 256) / 2
    assert std(wide, "embedding", 256) == std(wide, "output", 256) == 0.02
    assert std(wide, "router", 256) == std(BASE, "router", 64) / 4  # table 3: output variance 1/fan_in^2
    assert logit_scale(wide) == 1 / 4


def test_gpt2_and_t5_narrow_their_matrices_under_mup_as_well():
    normal, t5 = (mup(replace(BASE, init=init), wider=4) for init in ("normal", "t5"))
    assert std(normal, "hidden", 256) == 0.02 / 2
    assert std(t5, "query", 256) == pytest.approx((256 * 16) ** -0.5, rel=1e-12)
    assert std(t5, "output", 256) == 0.125  # the base's: the multiplier of the logits does the rest


def test_scores_fall_with_the_head_size_under_mup_and_with_its_root_in_the_standard():
    wide = replace(BASE, dim=256)  # four heads of 64
    assert attention_scale(wide) == attention_scale(BASE) / 2
    assert attention_scale(mup(wide)) == attention_scale(BASE) / 4
    assert attention_scale(mup(wider=4)) == attention_scale(BASE)  # sixteen heads of 16


def test_sinusoids_meet_embeddings_of_the_base_size_under_mup():
    model = replace(BASE, positions="sinusoidal")
    assert embedding_scale(model) == embedding_scale(mup(model, wider=4)) == 8
    assert embedding_scale(replace(model, dim=256)) == 16


def test_what_the_config_states_wins():
    model = replace(mup(wider=4), attention_scale=0.5, logit_scale=0.25, embedding_scale=3.0)
    assert (attention_scale(model), logit_scale(model), embedding_scale(model)) == (0.5, 0.25, 3.0)


def test_logits_are_divided_by_the_width_whatever_stands_before_the_head():
    for name in ("llama", "bert", "t5"):
        model = mup(MODELS[name], wider=2)
        weights, tokens = families.init(model, 0), np.arange(8)[None]
        inputs = Inputs(tokens, source_BS=tokens if name == "t5" else None)
        x_BTD = jax.jit(families.states, static_argnums=0)(model, weights, inputs).x_BTD
        found, whole = (
            jax.jit(families.logits, static_argnums=0)(scaled, weights, x_BTD.reshape(-1, model.dim))
            for scaled in (model, replace(model, logit_scale=1.0))
        )
        # The same products in float32, halved at another place.
        np.testing.assert_allclose(2 * found, whole, rtol=1e-4, atol=1e-5, err_msg=name)


def test_learning_rates_follow_the_role():
    model = mup(MODELS["bert"], wider=4)
    rates = learning_rate_multipliers(model, params(model))
    block = "encoder/blocks/0"
    for path in (f"{block}/attention/query/kernel", f"{block}/mlp/down/kernel", "head_transform/linear/kernel",
                 "sentence_head/pool/kernel", "sentence_head/out/kernel"):  # fmt: skip
        assert at(rates, path) == 1 / 4, path
    for path in ("embedding", "types", "encoder/positions", f"{block}/mlp/up/bias", f"{block}/mlp_norm/scale",
                 "encoder/embedding_norm/bias", "head_bias", "sentence_head/out/bias"):  # fmt: skip
        assert at(rates, path) == 1, path


def test_experts_learn_as_an_mlp_and_the_router_as_a_head():
    model = mup(MODELS["experts"], wider=4)
    assert set(jax.tree.leaves(learning_rate_multipliers(model, params(model))["decoder"]["blocks"])) == {1, 1 / 4}
    assert role(("decoder", "blocks", "0", "experts", "router")) == "router"
    assert role(("decoder", "blocks", "0", "experts", "down")) == "residual"


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_has_a_multiplier(name):
    model = mup(MODELS[name], wider=2, depth="sqrt")
    shapes = params(model)
    for multipliers in (learning_rate_multipliers, weight_decay_multipliers, epsilon_multipliers):
        assert jax.tree.structure(multipliers(model, shapes)) == jax.tree.structure(shapes)


@pytest.mark.parametrize("name", MODELS)
def test_matrices_begin_as_the_table_says(name):
    model = mup(MODELS[name], wider=2)
    for path, leaf in jax.tree_util.tree_leaves_with_path(families.init(model, 0)):
        keys = tuple(key.key for key in path)
        if role(keys) == "vector":
            assert set(np.unique(leaf)) <= {0.0, 1.0}
            continue
        expected = std(model, role(keys), leaf.shape[-2])
        # The error of a standard deviation of n numbers is 1/sqrt(2 n) of it; five of them.
        assert np.std(leaf) == pytest.approx(expected, rel=5 * (2 * leaf.size) ** -0.5), keys


def test_rate_times_decay_is_the_same_at_every_width_and_depth():
    model = replace(mup(wider=4, depth="sqrt"), layers=8)
    rates, decays = (f(model, params(model)) for f in (learning_rate_multipliers, weight_decay_multipliers))
    products = jax.tree.leaves(jax.tree.map(lambda rate, decay: rate * decay, rates, decays))
    np.testing.assert_allclose(products, 1.0, rtol=1e-12)  # rounding of one product
    assert min(jax.tree.leaves(rates)) == 1 / 8


def test_the_logits_of_a_detector_are_read_out_without_a_multiplier():
    assert role(("detection", "out", "kernel")) == role(("sentence_head", "out", "kernel")) == "readout"
    assert role(("decoder", "blocks", "0", "cross", "out", "kernel")) == "residual"


def test_branches_shrink_with_depth_and_blocks_begin_alike():
    assert branch_scale(deep("standard", deeper=4)) == 1
    assert branch_scale(deep("sqrt", deeper=4)) == 1 / 2
    assert branch_scale(deep("complete", deeper=4)) == 1 / 4
    for depth in ("sqrt", "complete"):
        assert std(deep(depth, deeper=4), "residual", 256) == std(BASE, "residual", 256)
    assert std(deep("standard", deeper=4), "residual", 256) == std(BASE, "residual", 256) / 2


def test_depth_changes_rates_within_blocks_only():
    rates = {}
    for depth in ("standard", "sqrt", "complete"):
        model = deep(depth, deeper=4)
        tree = learning_rate_multipliers(model, params(model))
        assert tree["embedding"] == tree["decoder"]["final_norm"]["scale"] == 1
        (rates[depth],) = set(jax.tree.leaves(tree["decoder"]["blocks"]))
    assert rates == {"standard": 1, "sqrt": 1 / 2, "complete": 1}


def test_epsilon_shrinks_with_the_gradient():
    # Dey et al. 2025, table 1: 1/m everywhere, within blocks also 1/l.
    model = replace(mup(wider=4, depth="complete"), layers=4)
    tree = epsilon_multipliers(model, params(model))
    assert tree["embedding"] == 1 / 4
    assert set(jax.tree.leaves(tree["decoder"]["blocks"])) == {1 / 8}


def test_other_families_learn_at_one_rate():
    tree = {"cells": {"0": {"kernel": np.zeros((2, 2))}}, "embedding": np.zeros((3, 2))}
    lstm = RecurrentConfig(vocab=3, dim=2, layers=1)
    for multipliers in (learning_rate_multipliers, weight_decay_multipliers, epsilon_multipliers):
        assert multipliers(lstm, tree) == {"cells": {"0": {"kernel": 1.0}}, "embedding": 1.0}


def test_a_parameter_without_a_role_is_refused():
    with pytest.raises(ValueError, match=r"decoder/blocks/0/mixer/kernel: 'mixer' has no role; add it"):
        role(("decoder", "blocks", "0", "mixer", "kernel"))
