from dataclasses import replace

import jax
import numpy as np
import pytest

from scaling.config import Experts, Parametrisation, TransformerConfig
from scaling.coordinates import QUANTITIES, TOLERANCE, deeper, wider
from scaling.models import families
from scaling.models.inputs import Inputs
from scaling.training.coordinates import check, coordinates

BASE = TransformerConfig(vocab=64, dim=16, layers=1, heads=1, context=16, activation="gelu")
MUP = Parametrisation(width="mup", base_dim=16)
VARIANTS = {
    "learned": {"positions": "learned", "norm": "layernorm", "biases": True, "embedding_norm": True},
    "t5": {"positions": "t5", "norm_place": "post"},
    "periods": {"layers": 4, "window": 4, "global_every": 2, "norm_place": "sandwich"},
    "experts": {"layers": 2, "moe": Experts(experts=4, every=2)},
}


def along_width(parametrisation, widths=(16, 128)):
    models = [replace(wider(BASE, width), parametrisation=parametrisation) for width in widths]
    return check(models, along="width", parametrisation=parametrisation.width, steps=4, lr=1e-2, seeds=1)


@pytest.fixture(scope="module")
def standard():
    return along_width(Parametrisation())


@pytest.fixture(scope="module")
def mup():
    return along_width(MUP)


def test_under_mup_activations_and_updates_do_not_depend_on_the_width(mup):
    assert mup.faults() == []
    # Eight times wider: what is out of place would differ by a factor of at least 8^(1/2).
    for name in QUANTITIES:
        assert abs(mup.change(name)) < TOLERANCE, name


def test_in_the_standard_parametrisation_updates_grow_with_the_width(standard):
    # Theory: one rate for all makes the update of a hidden matrix worth m times more, of fresh logits m^(1/2).
    for name in ("mlp", "stream", "logits"):
        assert standard.change(name) > 0.4, name
    assert standard.faults()


def test_at_the_base_both_are_one_model(standard, mup):
    for name in QUANTITIES:
        np.testing.assert_array_equal(standard.changes[name][0], mup.changes[name][0], err_msg=name)


def test_nothing_has_changed_before_the_first_step(mup):
    for name in QUANTITIES:
        assert not mup.changes[name][:, 0].any() and mup.values[name].all(), name


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["standard", "sqrt", "complete"])
def test_only_with_a_depth_rule_activations_and_updates_do_not_depend_on_the_depth(rule):
    models = [replace(deeper(BASE, n), parametrisation=Parametrisation(depth=rule)) for n in (2, 8)]
    found = check(models, along="depth", parametrisation=rule, steps=4, lr=3e-3, seeds=1)
    if rule == "standard":
        # Its blocks begin smaller by l^(-1/2), and so does what they learn to add.
        assert found.change("attention") < -0.3 and found.faults()
    else:
        assert found.faults() == []


@pytest.mark.slow
def test_under_mup_wider_heads_are_as_good_as_more_heads():
    models = [replace(BASE, dim=width, heads=1, parametrisation=MUP) for width in (16, 128)]
    assert check(models, along="width", parametrisation="muP", steps=4, lr=1e-2, seeds=1).faults() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_looked_at_is_what_the_model_computes(name):
    model = replace(BASE, **VARIANTS[name])
    params = families.init(model, 0)
    tokens = jax.random.randint(jax.random.key(1), (2, 16), 0, 64)
    found = coordinates(model, params, tokens)
    assert set(found) == set(QUANTITIES)
    assert found["attention"].shape == found["mlp"].shape == (model.layers, 2 * 16, 16)
    states = families.states(model, params, Inputs(tokens)).x_BTD
    # The same products in float32, in a program that the compiler may order otherwise.
    np.testing.assert_allclose(found["state"], states.reshape(-1, 16), rtol=1e-4, atol=1e-5)


def test_the_stream_is_the_embeddings_and_what_the_branches_add():
    model = replace(BASE, layers=2, parametrisation=Parametrisation(depth="complete", base_layers=1))
    params = families.init(model, 0)
    found = coordinates(model, params, np.arange(16)[None])
    added = 0.5 * (found["attention"].sum(0) + found["mlp"].sum(0))  # two layers, a base of one: branches count half
    np.testing.assert_allclose(found["stream"], found["embedding"] + added, rtol=1e-4, atol=1e-6)  # float32 sums


def test_other_models_and_empty_checks_are_refused():
    settings = {"along": "width", "parametrisation": "muP", "steps": 4, "lr": 1e-2, "seeds": 1}
    with pytest.raises(ValueError, match=r"trains decoders; leave architecture='encoder' out"):
        check([replace(BASE, architecture="encoder"), BASE], **settings)
    with pytest.raises(ValueError, match=r"of 1 sizes with steps=4, .* give at least two sizes"):
        check([BASE], **settings)
    with pytest.raises(ValueError, match=r"with steps=0, seeds=1"):
        check([BASE, wider(BASE, 32)], **{**settings, "steps": 0})
