import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import ReplacedTokens, TransformerConfig
from scaling.counts import params
from scaling.models import electra
from scaling.objectives.build import example

MODEL = TransformerConfig(vocab=60, dim=16, layers=1, heads=2, context=18, architecture="encoder")
OBJECTIVE = ReplacedTokens(generator_share=0.5)


@pytest.fixture(scope="module")
def weights():
    return jax.jit(electra.init, static_argnums=(0, 1))(MODEL, OBJECTIVE, 0)


@pytest.fixture(scope="module")
def masked():
    keys = jax.random.split(jax.random.key(1), 3)
    windows = jax.random.randint(jax.random.key(2), (3, 17), 0, 50)
    return example(MODEL, OBJECTIVE, 10, windows, keys), keys


@jax.jit
def parts(weights, masked, keys):
    """Summed detection loss, the generator's own, and the gradients of both."""

    def of(name):
        def scalar(weights):
            found = electra.losses(MODEL, OBJECTIVE, weights, masked, keys)
            return jnp.sum(found.nats_BT) if name == "detection" else found.auxiliary

        return jax.value_and_grad(scalar)(weights)

    return of("detection"), of("proposals")


def test_the_parameters_are_those_that_are_counted(weights):
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == params(MODEL, OBJECTIVE).total


def test_the_judgement_does_not_teach_the_generator_and_proposals_do_not_teach_the_detector(weights, masked):
    (_, judged), (_, proposed) = parts(weights, *masked)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(judged["generator"]))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(proposed["detection"]))
    assert np.any(proposed["detector"]["embedding"])  # shared, and so taught by both
    assert np.any(judged["detector"]["embedding"])


def test_every_token_of_the_text_is_judged(weights, masked):
    found = jax.jit(electra.losses, static_argnums=(0, 1))(MODEL, OBJECTIVE, weights, *masked)
    np.testing.assert_array_equal(found.weights_BT.sum(axis=1), [16, 16, 16])
    # A fresh detector knows nothing: a coin's ln 2 for every token.
    assert float(found.nats_BT.sum() / found.weights_BT.sum()) == pytest.approx(np.log(2), rel=0.1)
    assert float(found.auxiliary) * OBJECTIVE.detection_weight == pytest.approx(np.log(60), rel=0.1)
