import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models.head import mean_logit_gaps, softcapped, token_losses, unembed

M, D, V = 12, 8, 30


@pytest.fixture(scope="module")
def given():
    keys = jax.random.split(jax.random.key(0), 3)
    targets = jax.random.randint(keys[2], (M,), 0, V)
    return jax.random.normal(keys[0], (M, D)), jax.random.normal(keys[1], (V, D)), targets


def by_the_book(x, head, targets):
    return -jnp.take_along_axis(jax.nn.log_softmax(x @ head.T), targets[:, None], axis=-1)[:, 0]


def test_token_losses_are_minus_log_softmax(given):
    x, head, targets = given
    np.testing.assert_allclose(token_losses(unembed(x, head), targets), by_the_book(*given), rtol=1e-5)


def test_the_written_out_gradients_are_those_of_the_definition(given):
    x, head, targets = given
    weights = jnp.arange(1.0, M + 1)  # every token's loss counts differently

    def ours(x, head):
        return weights @ token_losses(unembed(x, head), targets)

    def theirs(x, head):
        return weights @ by_the_book(x, head, targets)

    for found, expected in zip(*(jax.grad(f, argnums=(0, 1))(x, head) for f in (ours, theirs)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # float32 sums of terms up to 100


def test_large_logits_do_not_overflow():
    logits = jnp.array([[1e4, 0.0], [0.0, 1e4]])
    np.testing.assert_allclose(token_losses(logits, jnp.array([0, 0])), [0.0, 1e4])


def test_half_precision_inputs_give_float32_logits(given):
    x, head, _ = given
    logits = unembed(x.astype(jnp.bfloat16), head.astype(jnp.bfloat16))
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, x @ head.T, atol=0.1)  # 8 significant bits, sums of 8 terms of order 1


def test_smoothing_adds_the_gap_between_the_target_and_the_mean(given):
    x, head, targets = given
    logits, share = unembed(x, head), 0.1
    smoothed = (1 - share) * jnp.eye(V)[targets] + share / V
    expected = -jnp.sum(smoothed * jax.nn.log_softmax(logits), axis=-1)
    found = token_losses(logits, targets) + share * mean_logit_gaps(logits, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # float32 logits of order 10


def test_a_soft_cap_bends_large_logits_and_keeps_small_ones():
    np.testing.assert_allclose(softcapped(jnp.array([1e-3, 1e6]), 30.0), [1e-3, 30.0], rtol=1e-6)
    np.testing.assert_array_equal(softcapped(jnp.array([5.0]), None), [5.0])
